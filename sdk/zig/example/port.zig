//! Does a port accept connections?
//!
//! Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).

const std = @import("std");
const vouchd = @import("vouchd_check");

pub const panic = vouchd.panic;

const Params = struct {
    address: []const u8,
    label: ?[]const u8,
};

fn check(ctx: vouchd.Context) !vouchd.Report {
    const params = try ctx.decode(Params);
    const label = params.label orelse params.address;

    var report = switch (vouchd.tcp(.{ .address = params.address })) {
        .problem => |problem| try problem.orFail(label),
        .reply => |reply| passed: {
            var report = try vouchd.Report.init(.pass, "{s} accepts connections", .{label});
            try report.metric("connect", @as(f64, @floatFromInt(reply.connect_us)) / 1e6, "s");
            break :passed report;
        },
    };
    try report.metric("runs", @floatFromInt(countRun()), "c");
    return report;
}

/// Counts the runs, this one included.
fn countRun() u32 {
    const memo = vouchd.recall();
    var bytes: [4]u8 = @splat(0);
    if (memo.len == bytes.len) @memcpy(&bytes, memo);
    const runs = std.mem.readInt(u32, &bytes, .little) + 1;
    std.mem.writeInt(u32, &bytes, runs, .little);
    vouchd.remember(&bytes);
    return runs;
}

comptime {
    vouchd.entry(check);
}
