// Does a port accept connections?
//
// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).
package main

import (
	"strconv"

	check "vouchd-check"
)

func init() { check.Run(run) }

func main() {}

type params struct {
	Address string
	Label   *string
}

func run(ctx *check.Context) (*check.Report, error) {
	var params params
	if err := ctx.Decode(&params); err != nil {
		return nil, err
	}
	label := params.Address
	if params.Label != nil {
		label = *params.Label
	}

	runs, _ := strconv.Atoi(string(ctx.Recall())) // Empty the first time.
	runs++
	ctx.Remember([]byte(strconv.Itoa(runs)))

	reply, err := ctx.TCP(check.TCPRequest{Address: params.Address})
	if err != nil {
		report, err := check.FailOn(err, label)
		if err != nil {
			return nil, err
		}
		return report.Metric("runs", float64(runs), "c"), nil
	}
	report := check.Pass("%s accepts connections", label)
	return report.Metric("connect", reply.Connect.Seconds(), "s").Metric("runs", float64(runs), "c"), nil
}
