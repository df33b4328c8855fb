#!/bin/sh
# A pod that is not of the host's network gets a namespace with nothing but loopback: exec, port-forward
# and exec probes work, no pod can reach another.
cat >/dev/null
case $CNI_COMMAND in
ADD)
    printf '{"cniVersion":"0.4.0","interfaces":[{"name":"%s","sandbox":"%s"}],' "$CNI_IFNAME" "$CNI_NETNS"
    printf '"ips":[{"version":"4","address":"127.0.0.1/8","interface":0}]}'
    ;;
VERSION) printf '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
esac
