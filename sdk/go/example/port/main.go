// Does a port accept connections?
//
// Parameters: `address` (`host:port`), `label` (what the operator calls it; default: the address).
package main

import (
	"strconv"

	check "vouchd-check"
)

func init() { check.Run(run) }

func main() {}

func run(ctx *check.Context) (*check.Report, error) {
	if err := ctx.AllowParams("address", "label"); err != nil {
		return nil, err
	}
	address, err := ctx.Param("address")
	if err != nil {
		return nil, err
	}
	label, err := ctx.ParamOr("label", address)
	if err != nil {
		return nil, err
	}

	runs, _ := strconv.Atoi(string(ctx.Recall())) // Empty the first time.
	runs++
	ctx.Remember([]byte(strconv.Itoa(runs)))

	reply, err := ctx.TCP(check.TCPRequest{Address: address})
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
