/// Does a port accept connections?
#include "vouchd_check.h"

static vouchd_result check(const vouchd_context *context) {
  vouchd_text address;
  const vouchd_field fields[] = {{"address", VOUCHD_TEXT, true, &address}};
  vouchd_result wrong;
  if (!vouchd_decode(context, fields, 1, &wrong)) return wrong;

  vouchd_tcp_request request = {.address = address};
  vouchd_tcp_reply reply;
  vouchd_probe_error error;
  if (!vouchd_tcp_probe(&request, &reply, &error)) return vouchd_or_fail(&error, address);

  vouchd_result result = vouchd_say(VOUCHD_PASS, "%.*s accepts connections", VOUCHD_ARG(address));
  vouchd_add_metric(&result, "connect", (double)reply.connect_us / 1e6, "s");
  return result;
}

VOUCHD_CHECK(check)
