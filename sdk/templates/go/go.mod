module vouchd-plugin

go 1.24

require vouchd-check v0.0.0

replace vouchd-check => ./vouchd/go
