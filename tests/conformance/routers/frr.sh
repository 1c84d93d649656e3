# FRR takes its virtual MAC from a macvlan that the operator makes: {virtual_mac} is always on.
# It is the owner where the interface has the virtual addresses.
mount -t tmpfs tmpfs /run || exit 1
mkdir -p /run/frr && chmod 777 /run/frr {dir}
{if ipv4}ip link add vrrp4 link {interface} type macvlan mode bridge
{if ipv4}ip link set vrrp4 address 00:00:5e:00:01:{vrid_hex}
{each ipv4}ip address add {ipv4}/24 dev vrrp4
{if ipv4}ip link set vrrp4 up
{if ipv6}ip link add vrrp6 link {interface} type macvlan mode bridge
{if ipv6}echo 3 > /proc/sys/net/ipv6/conf/vrrp6/addr_gen_mode
{if ipv6}ip link set vrrp6 address 00:00:5e:00:02:{vrid_hex}
{each ipv6}ip address add {ipv6}/64 dev vrrp6 nodad
{if ipv6}ip link set vrrp6 up
{each owner_address}ip address add {owner_address}/{prefix} dev {interface}
/usr/lib/frr/zebra -d -f /dev/null -i /run/frr/zebra.pid -z /run/frr/zserv.api --vty_socket /run/frr || exit 1
exec /usr/lib/frr/vrrpd -f {config} -i {pid} -z /run/frr/zserv.api --vty_socket /run/frr
