# Sourced by scripts that look into a container's birth: `enter_workshop "$@"` starts the calling script again
# as root in a mount namespace of its own, in which cgroup2 alone lies at /sys/fs/cgroup (as the benchmark
# does); `make_bundle RUNTIME` makes a bundle of /bin/true at $work/bundle, for containers named $name below the
# cgroup $cgroups/$name. Everything is gone at the end.
cgroups=/sys/fs/cgroup
name=caisson-profile-$$

enter_workshop() {
    if [ "$(id -u)" -ne 0 ]; then
        exec sudo --preserve-env=CARGO_TARGET_DIR,RUNTIME,PATH "$0" "$@"
    fi
    if [ "${1:-}" != --inside ]; then
        exec unshare --mount --propagation private "$0" --inside "$@"
    fi
    if [ "$(stat -f -c %T "$cgroups")" != cgroup2fs ]; then
        umount --lazy "$cgroups"
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$cgroups"
    fi
}

clean_up() {
    "$runtime" --root "$work/state" delete --force "$name" 2>/dev/null || true
    # Cgroups go by rmdir, and only empty.
    rmdir -- "$cgroups/$name/container" "$cgroups/$name" 2>/dev/null || true
    rm -r --one-file-system -- "$work"
}

make_bundle() {
    runtime=$1
    work=$(mktemp -d)
    trap clean_up EXIT
    mkdir -p "$work/bundle/rootfs/bin" "$work/bundle/rootfs/"{dev,proc,sys}
    cp /bin/busybox "$work/bundle/rootfs/bin/busybox"
    ln -s busybox "$work/bundle/rootfs/bin/true"
    mkdir "$cgroups/$name"
    (cd "$work/bundle" && "$runtime" spec)
    # The file that `spec` writes has one member per line: no program for JSON is needed to change these.
    sed -i -e 's|"terminal": true|"terminal": false|' -e 's|^\([[:space:]]*\)"sh"$|\1"/bin/true"|' \
        -e "s|^\([[:space:]]*\)\"linux\": {\$|&\n\1\1\"cgroupsPath\": \"/$name/container\",|" \
        "$work/bundle/config.json"
}
