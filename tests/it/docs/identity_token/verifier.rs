use std::time::UNIX_EPOCH;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

const ISSUER: &str = "https://login.example.org";
const AUDIENCE: &str = "https://wiki.example.org";

#[derive(Deserialize)]
pub struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    x: String,
    y: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

#[derive(Deserialize)]
pub struct Claims {
    iss: String,
    aud: String,
    pub sub: String,
    pub name: String,
    pub groups: Vec<String>,
    iat: u64,
    exp: u64,
    htm: String,
    htu: String,
}

/// The claims of a token that is good for this request.
pub fn verify(method: &str, path: &str, token: &str, keys: &Keys) -> Result<Claims, &'static str> {
    let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err("this is no token");
    };
    let decode = |part: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(part);
        decoded.map_err(|_| "this is no token")
    };
    let header: Header =
        serde_json::from_slice(&decode(head)?).map_err(|_| "the header is another one")?;
    if header.alg != "ES256" {
        return Err("the algorithm is another one");
    }
    let key = keys.keys.iter().find(|key| key.kid == header.kid);
    let key = key.ok_or("the key is not known")?;
    let point = [vec![4], decode(&key.x)?, decode(&key.y)?].concat();
    let signed = &token[..head.len() + 1 + body.len()];
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "the signature is wrong")?;
    let claims: Claims =
        serde_json::from_slice(&decode(body)?).map_err(|_| "a claim is missing")?;
    let now = UNIX_EPOCH.elapsed();
    let now = now.map_err(|_| "the clock is wrong")?.as_secs();
    if claims.iss != ISSUER || claims.aud != AUDIENCE {
        return Err("the token is for another app, or of another issuer");
    }
    if claims.iat > now + 5 || claims.exp + 5 <= now {
        return Err("the token is not good now");
    }
    if claims.htm != method || claims.htu != format!("{AUDIENCE}{path}") {
        return Err("the token is for another request");
    }
    Ok(claims)
}
