//! Does a port accept connections?
//!
//! Parameters: `address` (`host:port`), `label` (what the operator calls it; default: the address).

const std = @import("std");
const vouchd = @import("vouchd_check");

fn check(ctx: vouchd.Context) !vouchd.Report {
    try ctx.allowParams(&.{ "address", "label" });
    const address = ctx.param("address") orelse
        return vouchd.fail("the parameter `address` is missing: expected host:port", .{});
    const label = ctx.param("label") orelse address;

    var report = switch (vouchd.tcp(.{ .addr = address, .timeout_ms = ctx.budget_ms })) {
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

/// Runs so far, this one included.
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
