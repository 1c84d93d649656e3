// Does a port accept connections?
package main

import check "vouchd-check"

func init() { check.Run(run) }

func main() {}

type params struct {
	Address string
}

func run(ctx *check.Context) (*check.Report, error) {
	var params params
	if err := ctx.Decode(&params); err != nil {
		return nil, err
	}
	reply, err := ctx.TCP(check.TCPRequest{Address: params.Address})
	if err != nil {
		return check.FailOn(err, params.Address)
	}
	report := check.Pass("%s accepts connections", params.Address)
	return report.Metric("connect", reply.Connect.Seconds(), "s"), nil
}
