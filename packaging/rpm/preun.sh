# 0: the package goes, and no other version takes its place.
if [ "$1" -eq 0 ]; then
    units="vestibule.service vestibule.socket vestibule-http.socket"
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now $units || :
    else
        systemctl --no-reload disable $units || :
    fi
fi
