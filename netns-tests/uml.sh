# shellcheck shell=bash
# A real kernel with all of IPVS and its tunnels, as an ordinary process: Debian's user-mode-linux.

# uml_preload: prints what LD_PRELOAD must be for linux.uml on this machine (see uml-xstate.c), built in $LAB_DIR.
uml_preload() {
    local library=$LAB_DIR/uml-xstate.so
    [[ -e $library ]] || gcc -O2 -shared -fPIC -o "$library" "$(dirname "${BASH_SOURCE[0]}")/uml-xstate.c" >&2
    echo "$library"
}
