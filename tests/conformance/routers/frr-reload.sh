nsenter -t {process} -m -n vtysh --vty_socket /run/frr -d vrrpd -f {config}
