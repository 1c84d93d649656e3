import unittest

from port import Checker
from vouchd_check import ProbeFailed, Verdict
from vouchd_check_testing import FakeHost, refused
from wit_world.imports import tcp


class Port(unittest.TestCase):
    def test_open_port_passes_and_runs_are_counted(self):
        host = FakeHost(tcp_probe=lambda *_: tcp.Reply(2000, b""))
        for runs in [1, 2]:
            report = host.run(Checker, address="10.0.0.1:25", label="mail")
            self.assertEqual((report.verdict, report.message), (Verdict.PASS, "mail accepts connections"))
            self.assertEqual([metric.value for metric in report.metrics], [0.002, runs])

    def test_closed_port_fails(self):
        report = FakeHost(tcp_probe=lambda *_: refused()).run(Checker, address="10.0.0.1:25")
        self.assertEqual((report.verdict, report.message), (Verdict.FAIL, "10.0.0.1:25: connection refused"))

    def test_missing_grant_is_an_error(self):
        with self.assertRaises(ProbeFailed):
            FakeHost().run(Checker, address="10.0.0.1:25")


if __name__ == "__main__":
    unittest.main()
