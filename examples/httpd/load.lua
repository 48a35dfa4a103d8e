-- The load for wrk: a fixed set of requests, small and large, good and bad, each with the answer that it must get, status
-- and body, worked out here. Each request has a number of its own, which comes back in the header of its answer, so it
-- does not matter in which order the connections of a thread are answered. done() prints one line, for a script to read.
--
-- usage: wrk -s load.lua URL [-- small]     small: only those that succeed, with 1 to 8 items each

local names = {"apple", "bean", "cocoa", "dill", "endive"}

-- `count` items whose numbers follow from `seed`; halves and integers only, whose sums are exact.
local function order(seed, count)
    local items, counts, totals, total = {}, {}, {}, 0
    for i = 1, count do
        local name = names[(seed * 7 + i * 3) % #names + 1]
        local price, pieces = (seed * 31 + i * 17) % 200 / 2, (seed + i) % 9 + 1
        items[i] = string.format('{"name":"%s","price":%.14g,"count":%d}', name, price, pieces)
        counts[name] = (counts[name] or 0) + pieces
        totals[name] = (totals[name] or 0) + price * pieces
        total = total + price * pieces
    end
    local lines = {}
    for _, name in ipairs(names) do -- they are sorted
        if counts[name] then
            lines[#lines + 1] =
                string.format('{"name":"%s","count":%d,"total":%.14g}', name, counts[name], totals[name])
        end
    end
    return '{"items":[' .. table.concat(items, ",") .. "]}",
        string.format('{"items":%d,"total":%.14g,"names":[%s]}', count, total, table.concat(lines, ","))
end

local function error_body(text)
    return '{"error":"' .. text .. '"}'
end

local cases = {}
local function add(status, method, path, body, answer)
    cases[#cases + 1] = {status = status, method = method, path = path, body = body, answer = answer}
end

for seed = 1, 40 do -- most have 1 to 8 items, four have hundreds
    local body, answer = order(seed, seed % 10 == 0 and seed * 20 or seed % 8 + 1)
    add(200, "POST", "/totals", body, answer)
end
local large = order(1, 300)
add(400, "POST", "/totals", large:sub(1, -2), error_body("not JSON from byte " .. #large - 1 .. " on"))
add(400, "POST", "/totals", large:sub(1, -3) .. ',{"name":1}]}', error_body("items[300].name: not a string"))
add(400, "POST", "/totals", nil, error_body("no body"))
add(404, "POST", "/nowhere", large, error_body("no such path"))
add(405, "PUT", "/totals", large, error_body("no such method here"))
local too_large = error_body("too large: more memory than one request may have")
add(413, "POST", "/totals", string.rep("[", 300000), too_large)      -- its text
add(413, "POST", "/totals", (order(1, 3000)), too_large)             -- what it is parsed into

local requests = {}
function init(args)
    for number, case in ipairs(cases) do
        if args[1] ~= "small" or case.status == 200 and #case.body < 500 then
            local headers = {["X-Request-Id"] = tostring(number), ["Host"] = "localhost"}
            requests[#requests + 1] = wrk.format(case.method, case.path, headers, case.body)
        end
    end
end

-- Global, for done() to get.
answered, wrong, first_wrong, bad_statuses = 0, 0, "", 0

local at = 0
function request()
    at = at % #requests + 1
    return requests[at]
end

function response(status, headers, body)
    local case = cases[tonumber(headers["X-Request-Id"]) or 0]
    answered = answered + 1
    if status >= 400 then bad_statuses = bad_statuses + 1 end
    if not case or status ~= case.status or body ~= case.answer then
        wrong = wrong + 1
        if wrong == 1 then first_wrong = status .. " " .. body:sub(1, 200) end
    end
end

local threads = {}
function setup(thread)
    threads[#threads + 1] = thread
end

function done(summary)
    local sums, first = {answered = 0, wrong = 0, bad_statuses = 0}, ""
    for _, thread in ipairs(threads) do
        for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
        if first == "" then first = thread:get("first_wrong") end
    end
    local errors = summary.errors
    local line = "load: answers=%d unchecked=%d wrong=%d socket_errors=%d with_error_status=%d per_second=%d first_wrong=%s"
    print(string.format(line,
        summary.requests, summary.requests - sums.answered, sums.wrong,
        errors.connect + errors.read + errors.write + errors.timeout, sums.bad_statuses,
        summary.requests / summary.duration * 1e6, first))
end
