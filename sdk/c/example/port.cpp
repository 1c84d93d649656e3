/// Does a port accept connections?
///
/// Parameters: `address` (`host:port`), `label` (what the operator calls it; default: the address).
#include "../vouchd_check.hpp"

using vouchd::Context, vouchd::Report;

/// Runs so far, this one included.
static uint32_t count_run(const Context &ctx) {
  uint32_t runs = 0;
  std::string_view memo = ctx.recall();
  if (memo.size() == sizeof runs) memcpy(&runs, memo.data(), sizeof runs);
  runs++;
  ctx.remember({reinterpret_cast<const char *>(&runs), sizeof runs});
  return runs;
}

static Report check(const Context &ctx) {
  if (auto unknown = ctx.unknown_param("address", "label"))
    return Report::error("unknown parameter `" + std::string(*unknown) + "`: expected address, label");
  auto address = ctx.param("address");
  if (!address) return Report::error("the parameter `address` is missing: expected host:port");
  std::string label(ctx.param("label").value_or(*address));

  auto reply = ctx.tcp(*address);
  Report report = reply ? Report::pass(label + " accepts connections").metric("connect", reply->connect_us / 1e6, "s")
                        : reply.or_fail(label);
  return report.metric("runs", count_run(ctx), "c");
}

VOUCHD_CHECK_CPP(check)
