package main

import (
	"testing"
	"time"

	check "vouchd-check"
	"vouchd-check/checktest"
)

func TestOpenPortPassesAndRunsAreCounted(t *testing.T) {
	host := checktest.Host{OnTCP: func(request check.TCPRequest) (*check.TCPReply, error) {
		return &check.TCPReply{Connect: time.Millisecond}, nil
	}}
	for runs := 1.0; runs <= 2; runs++ {
		report, err := host.Run(run, "address", "10.0.0.1:25", "label", "mail")
		if err != nil || report.Verdict != check.VerdictPass || report.Message != "mail accepts connections" {
			t.Fatalf("found %+v, %v", report, err)
		}
		if found := report.Metrics[1]; found != (check.Metric{Name: "runs", Value: runs, Unit: "c"}) {
			t.Errorf("found %+v", found)
		}
	}
}

func TestClosedPortFails(t *testing.T) {
	host := checktest.Host{OnTCP: func(check.TCPRequest) (*check.TCPReply, error) {
		return nil, &check.ProbeError{Kind: check.Refused}
	}}
	report, err := host.Run(run, "address", "10.0.0.1:25")
	if err != nil || report.Verdict != check.VerdictFail || report.Message != "10.0.0.1:25: connection refused" {
		t.Errorf("found %+v, %v", report, err)
	}
}

func TestMissingGrantIsAnError(t *testing.T) {
	var host checktest.Host
	if report, err := host.Run(run, "address", "10.0.0.1:25"); err == nil {
		t.Errorf("expected an error, found %+v", report)
	}
}
