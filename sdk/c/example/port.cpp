/// Does a port accept connections?
///
/// Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).
#include "../vouchd_check.hpp"

using vouchd::Context, vouchd::Report;

/// Counts the runs, this one included.
static uint32_t count_run(const Context &ctx) {
  uint32_t runs = 0;
  std::string_view memo = ctx.recall();
  if (memo.size() == sizeof runs) memcpy(&runs, memo.data(), sizeof runs);
  runs++;
  ctx.remember({reinterpret_cast<const char *>(&runs), sizeof runs});
  return runs;
}

static Report check(const Context &ctx) {
  vouchd_text address, given{};
  if (auto wrong = ctx.decode({{"address", VOUCHD_TEXT, true, &address}, {"label", VOUCHD_TEXT, false, &given}}))
    return *wrong;
  std::string label(vouchd::view(given.data ? given : address));

  auto reply = ctx.tcp(vouchd::view(address));
  Report report = reply ? Report::pass(label + " accepts connections").metric("connect", reply->connect_us / 1e6, "s")
                        : reply.or_fail(label);
  return report.metric("runs", count_run(ctx), "c");
}

VOUCHD_CHECK_CPP(check)
