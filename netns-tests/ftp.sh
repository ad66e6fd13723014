# shellcheck shell=bash
# A server of FTP: what several files of tests need.

# ftp_server ROLE...: vsftpd on port 21 of each; anonymous, one file to get (100 MiB), /put to put into.
ftp_server() {
    local role dir
    scripts/need vsftpd
    for role; do
        dir=$SCRATCH/ftp-$role
        mkdir -p "$dir/empty" "$dir/root/put"
        chmod 755 "$SCRATCH" "$dir" "$dir/root"
        chmod 777 "$dir/root/put"
        ln "$(payload 100)" "$dir/root/payload-100" 2>/dev/null || cp "$(payload 100)" "$dir/root/payload-100"
        chmod 644 "$dir/root/payload-100"
        echo "$role" >"$dir/root/whoami"
        cat >"$dir/vsftpd.conf" <<-CONF
			listen=$([[ $FAMILY == 4 ]] && echo YES || echo NO)
			listen_ipv6=$([[ $FAMILY == 6 ]] && echo YES || echo NO)
			background=NO
			anonymous_enable=YES
			local_enable=NO
			write_enable=YES
			anon_upload_enable=YES
			anon_umask=000
			anon_root=$dir/root
			connect_from_port_20=${FROM_PORT_20:-YES}
			secure_chroot_dir=$dir/empty
			seccomp_sandbox=NO
			xferlog_enable=NO
		CONF
        spawn "vsftpd-$role" "$role" vsftpd "$dir/vsftpd.conf"
    done
    for role; do
        wait_for 10 "vsftpd in $role" listens "$role" tcp 21
    done
}

# HOST MODE DIRECTORY: two files in one session. Of the first the data conn is announced, and opened when DIRECTORY/moved.1
# exists; of the second the rest is read when DIRECTORY/moved.2 exists. DIRECTORY/at.N says that it waits for that.
FTP_SESSION='
import ftplib, hashlib, os, sys, time
host, mode, directory = sys.argv[1:]
moment = 0

def waits():
    global moment
    moment += 1
    open(f"{directory}/at.{moment}", "w").close()
    while not os.path.exists(f"{directory}/moved.{moment}"):
        time.sleep(0.05)

def opened(ftp, between):
    if mode == "passive":
        at = ftp.makepasv()
        between()
        conn = ftplib.socket.create_connection(at, 60)
        ftp.sendcmd("RETR payload-100")
        return conn
    listener = ftp.makeport()
    listener.settimeout(60)
    between()
    ftp.sendcmd("RETR payload-100")
    return listener.accept()[0]

def summed(ftp, conn, middle):
    digest, count = hashlib.sha256(), 0
    conn.settimeout(60)
    while part := conn.recv(65536):
        digest.update(part)
        count += len(part)
        if middle and count > 1000000:
            middle()
            middle = None
    conn.close()
    print(ftp.voidresp()[:3], digest.hexdigest(), flush=True)

ftp = ftplib.FTP(host, timeout=60)
ftp.login()
ftp.voidcmd("TYPE I")
ftp.trust_server_pasv_ipv4_address = True
summed(ftp, opened(ftp, waits), None)
summed(ftp, opened(ftp, lambda: None), waits)
print(ftp.quit()[:3], flush=True)
'

# session_goes_on MODE: such a session, through a pair (pair.sh) of which the active one is no more at either moment.
session_goes_on() {
    local moment sum
    rm -f "$LAB_DIR"/{at,moved}.* "$LAB_DIR/session-$1.log"
    spawn "session-$1" client python3 -c "$FTP_SESSION" "$VIP" "$1" "$LAB_DIR"
    for moment in 1 2; do
        wait_for 30 "moment $moment of the $1 session" test -e "$LAB_DIR/at.$moment"
        moves
        touch "$LAB_DIR/moved.$moment"
        pair_again
    done
    wait_for 60 "the end of the $1 session" grep -q ^221 "$LAB_DIR/session-$1.log"
    sum=$(sha256sum <"$(payload 100)")
    expect_eq "$(grep -c "^226 ${sum%% *}$" "$LAB_DIR/session-$1.log")" 2 "files that came whole by $1 mode"
}
