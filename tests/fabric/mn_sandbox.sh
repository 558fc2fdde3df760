#!/bin/sh
# Runs `mn --custom FILE,PROBE --topo TOPO` beside an Open vSwitch of its own. Call it in new network and process
# namespaces (unshare --net --pid --fork --mount-proc --kill-child): all it makes then ends with it.
set -eu
export OVS_RUNDIR="$1"
ip link set lo up
ovsdb-tool create "$1/conf.db" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --detach --pidfile="$1/db.pid" --unixctl="$1/db.ctl" --log-file="$1/db.log" \
  --remote="punix:$1/db.sock" "$1/conf.db"
ovs-vsctl --timeout=10 --no-wait init
ovs-vswitchd --detach --pidfile="$1/sw.pid" --unixctl="$1/sw.ctl" --log-file="$1/sw.log" "unix:$1/db.sock"
cd /
mn --custom "$2,$3" --topo "$4" --switch ovsbr,datapath=user --controller none --arp --test reach
