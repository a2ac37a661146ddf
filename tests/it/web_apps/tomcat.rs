use super::*;

const SOURCE: &str = "/usr/share/tomcat10";

/// What the page is told of its visitor, and how often it was opened in a session of its own.
const PAGE: &str = r#"<%
if (request.getParameter("leave") != null) {
    response.sendRedirect(request.getRequestURL() + "?back");
    return;
}
Object before = session.getAttribute("visits");
int visits = before == null ? 1 : (Integer) before + 1;
session.setAttribute("visits", visits);
%>url=<%= request.getRequestURL() %>
secure=<%= request.isSecure() %>
client=<%= request.getRemoteAddr() %>
user=<%= request.getHeader("X-Forwarded-User") %>
visits=<%= visits %>
next=<%= response.encodeURL("/index.jsp") %>
"#;

/// An application that insists on https.
const WEB: &str = "<web-app xmlns='https://jakarta.ee/xml/ns/jakartaee' version='6.0' \
    metadata-complete='true'><security-constraint><web-resource-collection>\
    <web-resource-name>all</web-resource-name><url-pattern>/*</url-pattern>\
    </web-resource-collection><user-data-constraint>\
    <transport-guarantee>CONFIDENTIAL</transport-guarantee></user-data-constraint>\
    </security-constraint></web-app>";

async fn tomcat(recipe: &mut Page) -> real::App {
    let (folder, address) = (tempfile::tempdir().unwrap(), held_port());
    let server = format!(
        "<Server port='-1'><Service name='Catalina'>\
         <Connector port='{}' address='127.0.0.1' redirectPort='8443'/>\
         <Engine name='Catalina' defaultHost='localhost'>\
         <Host name='localhost' appBase='webapps'>{}</Host></Engine></Service></Server>",
        address.port(),
        recipe.next("xml")
    );
    for name in ["conf", "logs", "temp", "work", "webapps/ROOT/WEB-INF"] {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("conf/server.xml", &server);
    write("webapps/ROOT/index.jsp", PAGE);
    write("webapps/ROOT/WEB-INF/web.xml", WEB);
    fs::copy(
        format!("{SOURCE}/etc/web.xml"),
        folder.path().join("conf/web.xml"),
    )
    .unwrap();
    let mut command = Command::new("sh");
    command
        .args([&format!("{SOURCE}/bin/catalina.sh"), "run"])
        .env("CATALINA_HOME", SOURCE)
        .env("CATALINA_BASE", folder.path());
    real::App::start_slowly(command, address, folder).await
}

#[tokio::test]
async fn a_servlet_of_tomcat_knows_its_visitor_and_keeps_its_session() {
    let script = format!("{SOURCE}/bin/catalina.sh");
    if !std::path::Path::new(&script).is_file() {
        return real::missing(&script);
    }
    let mut recipe = Page::open("recipes/tomcat.md");
    let app = tomcat(&mut recipe).await;
    let direct = real::http(app.address, hyper::Request::get("/")).await;
    assert_eq!(direct.unwrap().0, 302, "it insists on https");
    let gate = recipe.gate(&app.url()).user("ada", PASSWORD);
    let gate = gate
        .server("trusted_proxies = [\"127.0.0.0/8\"]")
        .start()
        .await;
    let visitor = gate.browser().header("x-forwarded-for", "203.0.113.7");
    let ada = visitor.clone().login("ada", PASSWORD).await;
    let page = ada.get("/index.jsp").await;
    page.assert_status(200)
        .assert_contains("url=https://gate.test/index.jsp\n")
        .assert_contains("secure=true")
        .assert_contains("client=203.0.113.7")
        .assert_contains("user=ada")
        .assert_contains("visits=1");
    let cookie = page.values("set-cookie");
    let cookie = cookie.iter().find(|value| value.starts_with("JSESSIONID="));
    assert!(cookie.unwrap().contains("; Secure"), "{page}");
    ada.get("/").await.assert_contains("visits=2");

    // Before the browser has the cookie, the session is in the path.
    let text = page.text();
    let next = text.split("next=").nth(1).unwrap().trim();
    assert!(next.starts_with("/index.jsp;jsessionid="), "{next}");
    let other = visitor.fresh().login("ada", PASSWORD).await;
    other.get(next).await.assert_contains("visits=3");

    let redirect = ada.get("/index.jsp?leave").await;
    redirect.assert_status(302);
    redirect.assert_header("location", "https://gate.test/index.jsp?back");
}
