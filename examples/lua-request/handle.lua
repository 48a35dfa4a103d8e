-- The default script of memarena-lua: an order as a query string, answered by an invoice as JSON.
--
--   customer=Ada+Lovelace&order=17&item=tea:250:4&item=jam:300:1     (prices in cents)
--   {"customer":"Ada Lovelace","order":17,"lines":[{"name":"jam","count":1,"total":"3.00"},...],"total":"13.00"}

local function decode(text)
    return (text:gsub("+", " "):gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
    end))
end

local function quote(text)
    return '"' .. text:gsub('[%c"\\]', function(char)
        return string.format("\\u%04x", char:byte())
    end) .. '"'
end

local function money(cents)
    return string.format('"%d.%02d"', cents // 100, cents % 100)
end

local function parse(request)
    local order = { items = {} }
    for key, value in request:gmatch("([^&=]+)=([^&]*)") do
        value = decode(value)
        if key == "item" then
            local name, price, count = value:match("^(.+):(%d+):(%d+)$")
            if not name then
                error("item: not name:price:count: " .. value, 0)
            end
            order.items[#order.items + 1] = { name = name, price = tonumber(price), count = tonumber(count) }
        else
            order[key] = value
        end
    end
    if not order.customer then
        error("customer: missing", 0)
    end
    return order
end

-- Equal names are one line; sorted, since the order of pairs() is not the same in two states.
local function lines_of(items)
    local lines, by_name = {}, {}
    for _, item in ipairs(items) do
        local line = by_name[item.name]
        if not line then
            line = { name = item.name, count = 0, total = 0 }
            by_name[item.name] = line
            lines[#lines + 1] = line
        end
        line.count = line.count + item.count
        line.total = line.total + item.count * item.price
    end
    table.sort(lines, function(a, b)
        return a.name < b.name
    end)
    return lines
end

function handle(request)
    local order = parse(request)
    local total, parts = 0, {}
    for i, line in ipairs(lines_of(order.items)) do
        total = total + line.total
        parts[i] = string.format('{"name":%s,"count":%d,"total":%s}', quote(line.name), line.count, money(line.total))
    end
    return string.format('{"customer":%s,"order":%d,"lines":[%s],"total":%s}', quote(order.customer),
        tonumber(order.order) or 0, table.concat(parts, ","), money(total))
end
