# The first process of a World: makes it, says so, and stays as its init. It was started in new namespaces; the
# process that started it made the cgroup and put it there.
#
#   $1  the runtime under test; it becomes /usr/local/sbin/runtime
#   $2  the test's folder on the host; it becomes /run/world
set -eu
# As the host counts: this /proc is still the host's.
read -r pid rest </proc/self/stat
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# The engines' containers get cgroups beside this one, and controllers where the host has them.
mkdir /sys/fs/cgroup/engines
echo 1 >/sys/fs/cgroup/engines/cgroup.procs

# What engines write: nothing of it reaches the host. Their layers need a file system that an overlay can write on.
mount -t tmpfs -o mode=755 run "$2/run"
mkdir "$2/run/world" "$2/run/over" "$2/run/lock"
mount --bind "$2" "$2/run/world"
mount -o remount,bind,ro /
for folder in etc var; do
    mkdir "$2/run/over/$folder" "$2/run/over/$folder.work"
    mount -t overlay overlay \
        -o "lowerdir=/$folder,upperdir=$2/run/over/$folder,workdir=$2/run/over/$folder.work" "/$folder"
done
for folder in docker containerd containers; do
    mkdir -p "/var/lib/$folder"
    mount -t tmpfs -o mode=711 "$folder" "/var/lib/$folder"
done
# The host's engines, if it has any, are configured for the host.
for folder in docker containerd cni; do
    mkdir -p "/etc/$folder"
    mount -t tmpfs -o mode=755 "$folder" "/etc/$folder"
done
mount -t tmpfs -o mode=755 sbin /usr/local/sbin
install -m 755 "$1" /usr/local/sbin/runtime
mount --no-mtab --move "$2/run" /run
mkdir /run/home /run/temporary
for folder in /tmp /dev/shm; do
    mount -t tmpfs -o mode=1777 temporary "$folder"
done

ip link set lo up
hostname engines
echo "ready $pid"
exec tini -- sleep infinity
