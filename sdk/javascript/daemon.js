// The daemon behind a context: the functions of the contract.

import clock from "vouchd:check/clock@0.1.0";
import dns from "vouchd:check/dns@0.1.0";
import files from "vouchd:check/files@0.1.0";
import http from "vouchd:check/http@0.1.0";
import log from "vouchd:check/log@0.1.0";
import memo from "vouchd:check/memo@0.1.0";
import network from "vouchd:check/network@0.1.0";
import process from "vouchd:check/process@0.1.0";
import stream from "vouchd:check/stream@0.1.0";
import tcp from "vouchd:check/tcp@0.1.0";

export const daemon = {
  tcp: (...request) => tcp.probe(...request),
  http: (request) => http.fetch(request),
  processes: (query) => process.find(query),
  stat: (path) => files.stat(path),
  read: (path, maxBytes) => files.read(path, maxBytes),
  space: (path) => files.space(path),
  resolve: (name, timeoutMs) => dns.resolve(name, timeoutMs),
  links: () => network.links(),
  addresses: () => network.addresses(),
  connectTcp: (address, timeoutMs) => stream.connectTcp(address, timeoutMs),
  connectUnix: (path, timeoutMs) => stream.connectUnix(path, timeoutMs),
  now: () => clock.now(),
  log: (level, message) => log.log(level, message),
  recall: () => memo.get(),
  remember: (data) => memo.set(data),
};
