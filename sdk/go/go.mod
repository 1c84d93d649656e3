module vouchd-check

go 1.24
