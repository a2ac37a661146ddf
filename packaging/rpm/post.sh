systemd-sysusers vestibule.conf || :
if [ ! -e /var/lib/vestibule ]; then
    install -d -m 700 -o vestibule -g vestibule /var/lib/vestibule || :
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi

if [ "$1" -eq 1 ]; then
    cat <<'END'
Vestibule is installed and not started. To do:
  1. Put the certificate and its key into /etc/vestibule/cert.pem and /etc/vestibule/key.pem,
     and the address of your app into /etc/vestibule/config.toml.
  2. vestibule user add NAME
  3. vestibule check
  4. systemctl enable --now vestibule.socket vestibule-http.socket vestibule.service
END
elif [ -d /run/systemd/system ] && systemctl --quiet is-active vestibule.service; then
    # The sockets stay open meanwhile, so that nobody is refused. 78: a wrong configuration; and a
    # program that does not even run replaces none that does.
    code=0
    if vestibule --version >/dev/null 2>&1; then
        vestibule check >/dev/null 2>&1 || code=$?
    else
        code=78
    fi
    if [ "$code" -ne 78 ]; then
        systemctl restart vestibule.service || :
    else
        echo "vestibule.service still runs the old version, because this one does not run or does" >&2
        echo "not accept the configuration. Ask 'vestibule check', then:" >&2
        echo "systemctl restart vestibule.service" >&2
    fi
fi
