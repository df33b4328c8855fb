# One node of Kubernetes: containerd and kubelet. Runs as the first process of its own mount and PID namespaces, so that
# killing it ends every pod and removes every mount.
set -eu
cd "$NODE_DIR"

# kubelet sets these for the whole machine unless they read as it wants them: it gets its own copies.
mkdir -p sysctl
while read -r key value; do
    copy=sysctl/$(echo "$key" | tr / .)
    echo "$value" >"$copy"
    mount --bind "$copy" "/proc/sys/$key"
done <<KEYS
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
KEYS

# Fixed paths, which two nodes would share, or in which a killed node would leave things.
for folder in /run/containerd /run/netns /var/log/containers /var/lib/kubelet/device-plugins /var/lib/cni; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
done
# By this name containerd connects to a pod's port. Pods of the host's network listen on the node's own address.
printf '%s localhost\n127.0.0.1 localhost\n' "$NODE_NAME" >hosts
mount --bind hosts /etc/hosts
# As after a reboot: what ran when the node was killed runs no more.
rm -rf containerd-state

# kubelet wants a group of its own with every controller.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
    done
    mkdir -p "/sys/fs/cgroup/$NODE_CGROUP"
else
    for hierarchy in /sys/fs/cgroup/*/; do
        own=$hierarchy$NODE_CGROUP
        mkdir -p "$own"
        if [ -e "$own/cpuset.cpus" ]; then
            cat "${hierarchy}cpuset.cpus" >"$own/cpuset.cpus"
            cat "${hierarchy}cpuset.mems" >"$own/cpuset.mems"
        fi
    done
fi

"$NODE_CONTAINERD" -c containerd.toml >>containerd.log 2>&1 &
containerd=$!
until "$NODE_CTR" -a containerd.sock version >/dev/null 2>&1; do
    kill -0 "$containerd" || exit 1
    sleep 0.1
done
while read -r image; do
    "$NODE_CTR" -a containerd.sock -n k8s.io images import "$image"
done <images
"$NODE_KUBELET" --config kubelet.yaml --kubeconfig "$NODE_KUBECONFIG" --root-dir "$NODE_DIR/kubelet" \
    --cert-dir "$NODE_DIR/kubelet/pki" --hostname-override "$NODE_NAME" >>kubelet.log 2>&1 &
wait "$!"
