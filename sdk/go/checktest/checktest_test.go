package checktest

import (
	"errors"
	"testing"

	check "vouchd-check"
)

func greets(ctx *check.Context) (*check.Report, error) {
	connection, err := ctx.ConnectTCP("10.0.0.1:25", 0)
	if err != nil {
		return check.FailOn(err, "mail")
	}
	defer connection.Close()
	line, err := connection.ReceiveUntil([]byte("\r\n"), 512, 0)
	if err != nil {
		return check.FailOn(err, "mail")
	}
	if err := connection.Send([]byte("QUIT\r\n")); err != nil {
		return check.FailOn(err, "mail")
	}
	rest, err := connection.Receive(512, 0)
	if err != nil {
		return check.FailOn(err, "mail")
	}
	ctx.Log(check.Info, "has spoken")
	return check.Pass("%q, %q", line, rest), nil
}

func TestScriptSendsItsLinesInTurn(t *testing.T) {
	host := Host{OnConnectTCP: func(string) (check.Connection, error) {
		return &Script{Greeting: "220 hi\r\n", Turns: []Turn{{"QUIT\r\n", "221 bye\r\n"}}}, nil
	}}
	report, err := host.Run(greets)
	if err != nil || report.Message != `"220 hi\r\n", "221 bye\r\n"` {
		t.Errorf("found %+v, %v", report, err)
	}
	if len(host.Logged) != 1 || host.Logged[0] != (Line{check.Info, "has spoken"}) {
		t.Errorf("found %+v", host.Logged)
	}
}

func TestScriptRefusesUnexpectedMessages(t *testing.T) {
	host := Host{OnConnectTCP: func(string) (check.Connection, error) { return &Script{}, nil }}
	if report, err := host.Run(greets); err != nil || report.Verdict != check.VerdictFail {
		t.Errorf("found %+v, %v", report, err)
	}
}

func TestProbeWithoutAnAnswerIsDenied(t *testing.T) {
	var host Host
	_, err := host.Run(greets)
	var probe *check.ProbeError
	if !errors.As(err, &probe) || probe.Kind != check.Denied {
		t.Errorf("found %v", err)
	}
}

func TestRunWithAnErrorRemembersNothing(t *testing.T) {
	host := Host{Memo: []byte("before")}
	_, err := host.Run(func(ctx *check.Context) (*check.Report, error) {
		ctx.Remember([]byte("after"))
		return nil, errors.New("no")
	})
	if err == nil || string(host.Memo) != "before" {
		t.Errorf("found %v, %q", err, host.Memo)
	}
}
