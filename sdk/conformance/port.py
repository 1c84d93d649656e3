"""What the example plugin `port` of every language must do.

It has the parameters `address` and `label`, passes if a port accepts connections and fails otherwise, and reports the metrics
`connect` (seconds) and `runs` (a count that it keeps in its memo).
"""

# Below the default limit of a report, 64 KiB.
BIG = 50_000


class Port:
    """The plugin and two ports, with grants for both."""

    def __init__(self, plugin, peers):
        self.plugin, self.open, self.closed = plugin, peers.closing, peers.refusing

    def run(self, *params, grant=True, options=()):
        return self.plugin.run(*params, allow={"tcp": [self.open, self.closed]} if grant else {}, options=options)


def open_port_passes(port):
    port.run(f"address={port.open}").passes(f"{port.open} accepts connections")


def closed_port_fails(port):
    port.run(f"address={port.closed}").fails(f"{port.closed}: connection refused")


def missing_parameter_is_an_error_that_names_it(port):
    port.run().errs("address")


def unknown_parameter_is_an_error_that_names_it(port):
    port.run(f"address={port.open}", "adress=x").errs("adress")


def bad_address_is_an_error(port):
    port.run("address=nonsense").errs("")


def text_arrives_unchanged(port):
    label = "Größe – 日本 🚦"
    port.run(f"address={port.open}", f"label={label}").passes(f"{label} accepts connections")


def empty_text_is_a_text(port):
    port.run(f"address={port.open}", "label=").passes(" accepts connections")


def big_parameter_arrives(port):
    port.run(f"address={port.open}", "label=" + "x" * BIG).is_(0, "^pass: x{400}")


def metrics_arrive_with_their_units(port):
    port.run(f"address={port.open}").is_(0, r"^ *connect = 0\.\d+ s$").has(r"^ *runs = 1 c$")


def failure_has_metrics_too(port):
    port.run(f"address={port.closed}").is_(1, r"^ *runs = 1 c$").lacks("connect =")


def memo_survives_from_run_to_run(port):
    port.run(f"address={port.open}", options=["--runs", "12"]).is_(0, r"^ *runs = 12 c$")


def denied_probe_is_an_error_that_names_the_grant(port):
    port.run(f"address={port.open}", grant=False).errs(f'allow = {{ tcp = \\["{port.open}"\\] }}')


BEHAVIOURS = [found for found in list(globals().values()) if callable(found) and not isinstance(found, type)]
