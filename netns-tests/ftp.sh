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
