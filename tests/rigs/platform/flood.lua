-- wrk's script: one request, again and again; statuses, errors and latencies as JSON at the end.
-- Arguments: a file with the body, a bearer token.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  wrk.method = "POST"
  wrk.body = file:read("*a")
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer " .. args[2]
  file:close()
  statuses = ""
  counts = {}
end

function response(status)
  counts[status] = (counts[status] or 0) + 1
  if status ~= 200 or counts[status] % 100 == 1 then -- only strings cross from a thread to `done`
    statuses = ""
    for number, count in pairs(counts) do
      statuses = statuses .. (statuses == "" and "" or ", ") .. '"' .. number .. '": ' .. count
    end
  end
end

function done(summary, latency)
  local all = {}
  for _, thread in ipairs(threads) do
    table.insert(all, "{" .. thread:get("statuses") .. "}")
  end
  local errors = summary.errors
  io.write(string.format(
    '\n{"statuses": [%s], "requests": %d, "microseconds": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, '
      .. '"refused": %d, "read": %d, "write": %d, "timeout": %d}\n',
    table.concat(all, ", "), summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.timeout
  ))
end
