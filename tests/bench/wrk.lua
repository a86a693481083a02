-- For wrk: as many requests at a time as its first argument says (1 where there is none), and the closing line
-- "requests seconds p50 p99 p99.9", times in microseconds.
local depth = 1

function init(args)
    depth = tonumber(args[1] or "1")
    local requests = {}
    for i = 1, depth do
        requests[i] = wrk.format()
    end
    pipelined = table.concat(requests)
end

function request()
    return pipelined
end

function done(summary, latency)
    local bad = summary.errors
    io.write(string.format("figures %d %f %d %d %d faults %d\n", summary.requests, summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        bad.connect + bad.read + bad.write + bad.status + bad.timeout))
end
