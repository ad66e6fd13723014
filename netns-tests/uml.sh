# shellcheck shell=bash
# A real kernel with all of IPVS and its tunnels, as an ordinary process: Debian's user-mode-linux.

# uml_preload: prints what LD_PRELOAD must be for linux.uml on this machine (see uml-xstate.c), built in $LAB_DIR.
uml_preload() {
    local library=$LAB_DIR/uml-xstate.so
    [[ -e $library ]] || gcc -O2 -shared -fPIC -o "$library" "$(dirname "${BASH_SOURCE[0]}")/uml-xstate.c" >&2
    echo "$library"
}

# uml_guest NAME SCRIPT MODULE...: boots a guest whose only link, `vec0` in there, is a port of the director's bridge called
# NAME. SCRIPT is text for busybox sh and runs as root once the modules are loaded; when it ends, the guest does. Its
# output is in $LAB_DIR/NAME.log. The guest's root is this machine's own, read-only but for /tmp and /run; $LAB_DIR is its
# /tmp/lab.
uml_guest() {
    local name=$1 script=$2 dir=$LAB_DIR/uml-$1
    shift 2
    mkdir -p "$dir"
    uml_init "$name" "$*" >"$dir/init"
    printf '%s\n' "$script" >"$dir/script"
    chmod +x "$dir/init"
    in_ns director ip tuntap add "$name" mode tap
    in_ns director ip link set "$name" master br0 up
    # On one processor a guest is several times as fast as on two.
    spawn "$name" director env LD_PRELOAD="$(uml_preload)" setsid taskset -c 0 linux.uml mem=256M "uml_dir=$dir/" \
        umid=guest root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$dir/init" con=null con0=null,fd:1 ssl=null \
        quiet loglevel=1 "vec0:transport=tap,ifname=$name,depth=64"
    defer end_session "$SPAWNED"
}

# uml_init NAME MODULES: prints what process 1 of that guest does.
uml_init() {
    local modules
    modules=$(find /usr/lib/uml/modules -mindepth 1 -maxdepth 1 -type d | sort | tail -n 1)
    cat <<-INIT
	#!/bin/busybox sh
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
	for part in proc:/proc sysfs:/sys tmpfs:/tmp tmpfs:/run; do
	    /bin/busybox mount -t "\${part%:*}" none "\${part#*:}"
	done
	/bin/busybox mkdir -p /tmp/lab /tmp/modules /run/netns
	/bin/busybox mount -t hostfs -o "$LAB_DIR" none /tmp/lab
	/bin/busybox mount -t hostfs -o "$modules" none /tmp/modules -r
	load() {
	    # The module itself, then what it needs, the nearest first: the last one goes in first.
	    files=
	    for file in \$(/bin/busybox grep "/\$1.ko:" /tmp/modules/modules.dep | /bin/busybox tr -d :); do
	        files="\$file \$files"
	    done
	    for file in \$files; do /bin/busybox insmod "/tmp/modules/\$file" 2>/dev/null; done
	    /bin/busybox grep -q "^\$1 " /proc/modules || echo "module \$1 is not there"
	}
	for module in $2; do load "\$module"; done
	/bin/busybox ip link set lo up
	/bin/busybox sh /tmp/lab/uml-$1/script 2>&1
	/bin/busybox poweroff -f
	INIT
}
