-- What wrk sends: the requests of a file, each as its bytes, with NUL between them.
-- BENCH_REQUESTS names the file, BENCH_ONCE says whether they go in order or are drawn.

local requests, position = {}, 0
local in_order = os.getenv("BENCH_ONCE") == "1"

function init(_)
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  for request in file:read("*a"):gmatch("%Z+") do
    requests[#requests + 1] = request
  end
  file:close()
  math.randomseed(os.time())
end

function request()
  if in_order then
    position = position % #requests + 1
    return requests[position]
  end
  return requests[math.random(#requests)]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
