//! What Redis does in one step. In the hash of the tokens, a value begins with the tag of its user; how
//! many tokens each tag has is a hash of its own.

use std::sync::LazyLock;

use ::redis::Script;

use super::{LIFE, TAG};

/// Keys: tokens, users, version. Arguments: new version, channel, key, value, most tokens of a user,
/// most in all. Gives 0 where there are too many.
pub(super) static INSERT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1 then return 1 end
        if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6]) then return 0 end
        local most, own = tonumber(ARGV[5]), tag(ARGV[4])
        if count(KEYS[2], own) >= most then
            -- Something else than a script may have taken tokens away.
            redis.call('HDEL', KEYS[2], own)
            local there = 0
            for _, key in ipairs(redis.call('HKEYS', KEYS[1])) do
                if tag(redis.call('HGET', KEYS[1], key)) == own then there = there + 1 end
            end
            add(KEYS[2], own, there)
            if there >= most then return 0 end
        end
        redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
        add(KEYS[2], tag(ARGV[4]), 1)
        tell(KEYS[3])
        return 1",
    )
});

/// Keys: tokens, users, last uses, version. Arguments: new version, channel, then keys. Gives how many
/// there were. A revocation is worth the last bytes of the memory.
pub(super) static REMOVE: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "#!lua flags=allow-oom\n",
        "local removed = 0
        for at = 3, #ARGV do
            local value = redis.call('HGET', KEYS[1], ARGV[at])
            if value then
                redis.call('HDEL', KEYS[1], ARGV[at])
                add(KEYS[2], tag(value), -1)
                removed = removed + 1
            end
            redis.call('HDEL', KEYS[3], ARGV[at])
        end
        if removed > 0 then tell(KEYS[4]) end
        return removed",
    )
});

/// Keys: tokens, version. Arguments: the version that is known, most tokens. Gives 0 where it is that,
/// 1 where there are more tokens, else the version and the keys.
pub(super) static CHANGES: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local version = redis.call('GET', KEYS[2]) or ''
        if version == ARGV[1] then return 0 end
        if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then return 1 end
        return {version, redis.call('HKEYS', KEYS[1])}",
    )
});

/// Keys: tokens, last uses. Arguments: most bytes of a value, then keys. Gives value and last use of
/// each: 0 for a token that is gone, 1 for one that is too large.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local found = {}
        for at = 2, #ARGV do
            local length, value = redis.call('HSTRLEN', KEYS[1], ARGV[at]), 0
            if length > tonumber(ARGV[1]) then
                value = 1
            elseif length > 0 then
                value = redis.call('HGET', KEYS[1], ARGV[at])
            end
            found[#found + 1] = value
            found[#found + 1] = redis.call('HGET', KEYS[2], ARGV[at]) or ''
        end
        return found",
    )
});

/// Keys: tokens. Arguments: of each token its key, the value that was read, the same sealed anew. Gives 1
/// for each, or 0 where the value is another by now.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local renewed = {}
        for at = 1, #ARGV, 3 do
            local is_same = redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1]
            if is_same then redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2]) end
            renewed[#renewed + 1] = is_same and 1 or 0
        end
        return renewed",
    )
});

/// Keys: tokens, last uses. Arguments: key and milliseconds of each use. An earlier one than there is
/// changes nothing, and one of a token that is gone neither.
pub(super) static TOUCH: LazyLock<Script> = LazyLock::new(|| {
    script(
        "for at = 1, #ARGV, 2 do
            local last = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or '0') or 0
            if last < tonumber(ARGV[at + 1]) and redis.call('HEXISTS', KEYS[1], ARGV[at]) == 1 then
                redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
            end
        end
        return 0",
    )
});

/// Key: the hash of last uses. Argument: the maximum number of fields to return. Returns keys and milliseconds.
pub(super) static USES: LazyLock<Script> = LazyLock::new(|| {
    script(
        "if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[1]) then return {} end
        return redis.call('HGETALL', KEYS[1])",
    )
});

/// Keys: tokens, users, last uses, version, what was taken over. Arguments: new version, channel, most
/// tokens in all, name of this part, then key, value and last use of each. Gives 0 where there would be
/// too many. What was taken over once is not taken over again: it may have been revoked since.
pub(super) static TAKE_OVER: LazyLock<Script> = LazyLock::new(|| {
    script(
        "if redis.call('SADD', KEYS[5], ARGV[4]) == 0 then return 1 end
        if redis.call('HLEN', KEYS[1]) + (#ARGV - 4) / 3 > tonumber(ARGV[3]) then
            redis.call('SREM', KEYS[5], ARGV[4])
            return 0
        end
        for at = 5, #ARGV, 3 do
            if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 0 then
                redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
                add(KEYS[2], tag(ARGV[at + 1]), 1)
                if ARGV[at + 2] ~= '' then redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2]) end
            end
        end
        tell(KEYS[4])
        return 1",
    )
});

const COMMON: &str = "local function tag(value) return string.sub(value, 1, @TAG) end
        local function count(users, tag) return tonumber(redis.call('HGET', users, tag) or '0') or 0 end
        local function add(users, tag, more)
            local left = count(users, tag) + more
            if left > 0 then
                redis.call('HSET', users, tag, string.format('%.0f', left))
            else
                redis.call('HDEL', users, tag)
            end
        end
        local function tell(version)
            local old, new = redis.pcall('GET', version), ARGV[1]
            if type(old) == 'string' and #old == #new then
                new = string.sub(old, 1, @LIFE) .. string.sub(new, @LIFE + 1)
            end
            redis.call('SET', version, new)
            redis.pcall('PUBLISH', ARGV[2], '')
        end
        ";

fn script(text: &str) -> Script {
    filled("", text)
}

fn filled(flags: &str, text: &str) -> Script {
    let common = COMMON.replace("@TAG", &TAG.to_string());
    let common = common.replace("@LIFE", &LIFE.to_string());
    Script::new(&format!("{flags}{common}{text}"))
}
