import pathlib
import unittest
from dataclasses import dataclass, field
from datetime import timedelta

import vouchd_check
from vouchd_check import CheckError, Context, Level, Report, Verdict
from vouchd_check_params import decode
from vouchd_check_testing import FakeHost, Script, timed_out
from wit_world.imports import stream


@dataclass
class Range:
    low: int
    high: int = 9


@dataclass
class Params:
    address: str
    range: Range
    label: str | None
    timeout: timedelta = timedelta(seconds=1)
    codes: list[int] = field(default_factory=lambda: [200])
    headers: dict[str, str] = field(default_factory=dict)
    load: float = 1.5
    strict: bool = False


GIVEN = [("address", "a:1"), ("range.low", "1")]


class Decode(unittest.TestCase):
    def test_parameters_become_fields(self):
        params = [*GIVEN, ("codes", "1"), ("codes", "2"), ("headers.x-a", "1"), ("timeout", "2d"), ("load", "0.5")]
        found = decode([*params, ("strict", "true"), ("label", "")], Params)
        self.assertEqual(found, Params("a:1", Range(1), "", timedelta(days=2), [1, 2], {"x-a": "1"}, 0.5, True))

    def test_left_out_parameter_has_its_default(self):
        self.assertEqual(decode(GIVEN, Params), Params("a:1", Range(1), None))

    def test_wrong_parameters_are_named(self):
        known = "address, range.low, range.high, label, timeout, codes, headers.*, load, strict"
        for key, value, expected in [
            ("timeout", "5", "parameter `timeout`: expected a duration like \"500ms\", found '5'"),
            ("timeout", "5w", "parameter `timeout`: expected a duration like \"500ms\", found '5w'"),
            ("codes", "many", "parameter `codes`: expected a whole number, found 'many'"),
            ("strict", "yes", "parameter `strict`: expected true or false, found 'yes'"),
            ("address", "b", "parameter `address`: found 2 values, expected one"),
            ("adress", "b", f"unknown parameter `adress`, expected one of: {known}"),
        ]:
            with self.assertRaises(CheckError) as raised:
                decode([*GIVEN, (key, value)], Params)
            self.assertEqual(str(raised.exception), expected)
        with self.assertRaisesRegex(CheckError, "^parameter `address` is missing$"):
            decode([], Params)


class Durations(unittest.TestCase):
    def test_they_are_written_as_in_the_configuration(self):
        @dataclass
        class Only:
            time: timedelta

        lines = (pathlib.Path(__file__).parents[2] / "durations.txt").read_text().splitlines()
        rows = [line.split("|") for line in lines if not line.startswith("#")]
        self.assertGreater(len(rows), 20)
        for text, expected in rows:
            # The largest is more than a timedelta can be.
            if expected and int(expected) < timedelta.max.total_seconds() * 1000:
                self.assertEqual(decode([("time", text)], Only).time, timedelta(milliseconds=int(expected)), text)
            else:
                with self.assertRaisesRegex(CheckError, "expected a duration"):
                    decode([("time", text)], Only)


class Greets(vouchd_check.Checker):
    def run(self, ctx: Context) -> Report:
        with ctx.connect_tcp("10.0.0.1:25") as mail:
            greeting = mail.receive_until(b"\r\n", 512)
            mail.send(b"STARTTLS\r\n")
            mail.receive_until(b"\r\n", 512)
            shown = mail.start_tls("mail.test")
            ctx.log(Level.INFO, shown.subject)
        ctx.remember(b"greeted")
        return Report.passed(greeting.decode().strip())


CERTIFICATE = stream.Certificate("CN=mail.test", "CN=ca", ["mail.test"], 0, 1, None, "TLSv1.3")


class Double(unittest.TestCase):
    def test_script_sends_its_lines_in_turn(self):
        script = Script(b"220 hi\r\n", (b"STARTTLS\r\n", b"220 go\r\n"), shows=CERTIFICATE)
        host = FakeHost(stream_connect_tcp=lambda *_: script)
        report = host.run(Greets)
        self.assertEqual((report.verdict, report.message), (Verdict.PASS, "220 hi"))
        self.assertEqual((host.logged, host.memo), ([(Level.INFO, "CN=mail.test")], b"greeted"))
        self.assertTrue(script.closed)

    def test_run_with_an_error_remembers_nothing_and_closes(self):
        script = Script(b"220 hi\r\n")
        host = FakeHost(memo=b"before", stream_connect_tcp=lambda *_: script)
        with self.assertRaisesRegex(vouchd_check.ProbeFailed, "connection refused"):
            host.run(Greets)
        self.assertTrue(script.closed)
        self.assertEqual(host.memo, b"before")

    def test_failure_becomes_a_report_and_denied_probe_is_raised(self):
        def failure(host: FakeHost) -> vouchd_check.ProbeFailed:
            with self.assertRaises(vouchd_check.ProbeFailed) as raised:
                host.run(Greets)
            return raised.exception

        report = failure(FakeHost(stream_connect_tcp=lambda *_: timed_out())).report("mail")
        self.assertEqual((report.verdict, report.message), (Verdict.FAIL, "mail: no answer in time"))
        with self.assertRaisesRegex(vouchd_check.ProbeFailed, "no answer for stream_connect_tcp"):
            failure(FakeHost()).report("mail")


if __name__ == "__main__":
    unittest.main()
