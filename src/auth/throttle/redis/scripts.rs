//! What Redis does in one step. A counter is `BEGIN:FAILURES`, with the time in milliseconds at which
//! its window began, by the clock of the server; with `:f` at the end if a login has made those before
//! them forgotten, which tells it from one that the server has lost.

use std::sync::LazyLock;

use ::redis::Script;

/// Keys: known networks of the account. Arguments: network, milliseconds for which one is known.
/// Gives when the user signed in from there last; 0 for never.
pub(super) static KNOWN_SINCE: LazyLock<Script> =
    LazyLock::new(|| script("return known_since(KEYS[1], ARGV[1], tonumber(ARGV[2]))"));

/// Keys: known networks, account, shared tries, network for known accounts; then for each level the
/// account there, and the network.
///
/// Arguments: window, network, site, whether the network is known (`yes`, `look`, `never`), for how
/// long one is; the limits of a known account, of the network for known accounts, and of the account
/// everywhere; milliseconds for each shared try, and how many are saved up; then the two limits of
/// each level.
///
/// Gives whether the try is counted; when the user signed in from there last; for how long to wait,
/// or to wait after this last try; whether it is a shared one; and, of each counter, when its window
/// began, the failures in it, and whether a login has made others forgotten.
pub(super) static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local window, limits = tonumber(ARGV[1]), {}
        for at = 5, #ARGV do limits[at] = tonumber(ARGV[at]) end
        local writes, counted, refused, wait, full = {}, {}, false, 0, 0
        local function claim(key, limit)
            local since, failures, forgot = counter(key, window)
            local left = since + window - now
            if failures >= limit then return since, left end
            writes[#writes + 1] = {key, since, failures + 1, forgot}
            local at = #counted
            counted[at + 1], counted[at + 2], counted[at + 3] = since, failures + 1, forgot
            if failures + 1 >= limit then return since, nil, left end
            return since
        end
        local function must(key, limit)
            local _, left, last = claim(key, limit)
            if left then refused, wait = true, math.max(wait, left) end
            if last then full = math.max(full, last) end
        end
        local known = 0
        if ARGV[4] == 'look' then known = known_since(KEYS[1], ARGV[2], limits[5]) end
        local shared = 0
        if known > 0 or ARGV[4] == 'yes' then
            must(KEYS[5], limits[6])
            if not refused then must(KEYS[4], limits[7]) end
        else
            for at = 5, #KEYS do must(KEYS[at], limits[at + 6]) end
            if not refused then
                local since, left = claim(KEYS[2], limits[8])
                if left then
                    wait = take(KEYS[3], ARGV[3], since, left, limits[9], limits[10])
                    refused, shared = wait > 0, 1
                end
            end
        end
        if refused then return {0, known, wait, 0} end
        for _, write in ipairs(writes) do keep(write[1], write[2], write[3], window, write[4]) end
        return {1, known, full, shared, unpack(counted)}",
    )
});

/// Keys: known networks, shared tries, account at the network; then the counters that have the try.
/// Arguments: window, the network if it is known from now on, `forget` to forget the failures of the
/// account there, the site if the try was a shared one; for how long a network is known, how often
/// that is written down, and how many are; milliseconds for each shared try; then when the window of
/// each counter began.
pub(super) static TAKE_BACK: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local window = tonumber(ARGV[1])
        for at = 4, #KEYS do
            local since, failures, forgot = counter(KEYS[at], window)
            if failures > 0 and since == tonumber(ARGV[at + 5]) then
                keep(KEYS[at], since, failures - 1, window, forgot)
            end
        end
        if ARGV[3] == 'forget' then keep(KEYS[3], now, 0, window, 1) end
        if ARGV[4] ~= '' then give_back(KEYS[2], ARGV[4], tonumber(ARGV[8])) end
        if ARGV[2] ~= '' then
            note(KEYS[1], ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]))
        end
        return 0",
    )
});

/// `keep` leaves the end of a key where it was, which is that of its window. A value that nobody here
/// has written counts nothing, and is written over.
const COMMON: &str = "
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    local function text(number) return string.format('%.0f', number) end
    local function get(key)
        local value = redis.pcall('GET', key)
        return type(value) == 'string' and value or ''
    end
    local function counter(key, window)
        local since, failures, forgot = string.match(get(key), '^(%d+):(%d+)(:?f?)$')
        since, failures = tonumber(since), tonumber(failures)
        if not since or now - since >= window then return now, 0, 0 end
        forgot = forgot == ':f' and 1 or 0
        if failures == 0 then return now, 0, forgot end
        return math.min(since, now), failures, forgot
    end
    local function keep(key, since, failures, window, forgot)
        if failures == 0 and forgot == 0 then return redis.call('DEL', key) end
        local left = math.max(1, since + window - now)
        local mark = forgot == 1 and ':f' or ''
        redis.call('SET', key, text(since) .. ':' .. text(failures) .. mark, 'PX', text(left))
    end
    local function known_since(key, network, known_for)
        for tag, at in string.gmatch(get(key), '([%w_-]+)=(%d+);') do
            if tag == network and now - tonumber(at) < known_for then return tonumber(at) end
        end
        return 0
    end
    local function note(key, network, known_for, every, most)
        local last = known_since(key, network, known_for)
        if last > 0 and now - last < every then return end
        local value, count = network .. '=' .. text(now) .. ';', 1
        for tag, at in string.gmatch(get(key), '([%w_-]+)=(%d+);') do
            if tag ~= network and now - tonumber(at) < known_for and count < most then
                value, count = value .. tag .. '=' .. at .. ';', count + 1
            end
        end
        redis.call('SET', key, value, 'PX', text(known_for))
    end
    local function field(key, name)
        local value = redis.pcall('HGET', key, name)
        return type(value) == 'string' and tonumber(value) or nil
    end
    -- Tries that networks share: see `SharedTries` in the program.
    local function take(key, site, since, left, every, saved)
        if field(key, 'since') ~= since then
            redis.call('DEL', key)
            redis.call('HSET', key, 'since', text(since), 'full', text(now))
            redis.call('PEXPIRE', key, text(math.max(1, left)))
        end
        local full, taken = math.max(field(key, 'full') or now, now), field(key, 't:' .. site) or 0
        local missing = full - now + every * math.min(taken + 1, saved) - every * saved
        if missing > 0 then return missing end
        redis.call('HSET', key, 'full', text(full + every), 't:' .. site, text(taken + 1))
        return 0
    end
    local function give_back(key, site, every)
        local taken, full = field(key, 't:' .. site), field(key, 'full')
        if not full or not taken or taken < 1 then return end
        local owed = math.max(0, full - now - every)
        redis.call('HSET', key, 'full', text(now + owed), 't:' .. site, text(taken - 1))
    end
    ";

fn script(text: &str) -> Script {
    Script::new(&format!("{COMMON}{text}"))
}
