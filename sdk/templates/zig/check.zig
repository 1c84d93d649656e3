//! Does a port accept connections?

const vouchd = @import("vouchd_check");

pub const panic = vouchd.panic;

const Params = struct {
    address: []const u8,
};

fn check(ctx: vouchd.Context) !vouchd.Report {
    const params = try ctx.decode(Params);
    switch (vouchd.tcp(.{ .address = params.address })) {
        .problem => |problem| return problem.orFail(params.address),
        .reply => |reply| {
            var report = try vouchd.Report.init(.pass, "{s} accepts connections", .{params.address});
            try report.metric("connect", @as(f64, @floatFromInt(reply.connect_us)) / 1e6, "s");
            return report;
        },
    }
}

comptime {
    vouchd.entry(check);
}
