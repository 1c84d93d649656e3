/// Does a port accept connections?
#include "vouchd_check.hpp"

using vouchd::Context, vouchd::Report;

static Report check(const Context &ctx) {
  vouchd_text given;
  if (auto wrong = ctx.decode({{"address", VOUCHD_TEXT, true, &given}})) return *wrong;
  std::string address(vouchd::view(given));

  auto reply = ctx.tcp(address);
  if (!reply) return reply.or_fail(address);
  return Report::pass(address + " accepts connections").metric("connect", reply->connect_us / 1e6, "s");
}

VOUCHD_CHECK_CPP(check)
