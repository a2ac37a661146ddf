//! What Redis does in one step. Each script has keys of one shard.

use std::sync::LazyLock;

use ::redis::Script;

use super::epochs::{MAX_KEPT_IN_ALL, MOST_EPOCH};
use super::removed::REMOVED;
use super::value::{ACCESS, SEALED, STAMP};

/// Ends that a stream keeps. A node that has missed more drops all that it knows.
const ENDS: usize = 10_000;

/// Keys: record, bucket, buckets, count. Arguments: value, rest of the session key, milliseconds to
/// keep it, its name in the bucket, number of the bucket, `1` to leave alone what is there. Gives 0
/// where another session has its name.
pub(super) static INSERT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local there = redis.call('GETRANGE', KEYS[1], @ACCESS, @SEALED - 1)
        if #there > 0 and (there ~= ARGV[2] or ARGV[6] == '1') then return 0 end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
        if add(KEYS[2], ARGV[4]) == 1 then redis.pcall('INCR', KEYS[4]) end
        add(KEYS[3], ARGV[5])
        return 1",
    )
});

/// Keys: index of a user, names that are about to be taken out of it. Arguments: the name of a session,
/// milliseconds to keep it. Adds it to the index, which is kept for as long as the last of them, and has it
/// stay there.
pub(super) static NAME: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local added = add(KEYS[1], ARGV[1])
        redis.pcall('HDEL', KEYS[2], ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[2], 'NX')
        redis.call('PEXPIRE', KEYS[1], ARGV[2], 'GT')
        return added",
    )
});

/// Keys: names that are about to be taken out of the index of a user. Arguments: who takes them out, unlike
/// any other, milliseconds to keep that, then names. Whoever notes a name last may take it out, unless a
/// session of that name begins meanwhile.
pub(super) static LEAVE: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "if type(redis.pcall('HLEN', KEYS[1])) ~= 'number' then redis.call('DEL', KEYS[1]) end
        for at = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[at], ARGV[1]) end
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        return 1",
    )
});

/// Keys: index of a user, names that are about to be taken out of it. Arguments: who takes them out, then
/// names. Gives how many are out.
pub(super) static TAKE_OUT: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "local out = 0
        for at = 2, #ARGV do
            if redis.call('HGET', KEYS[2], ARGV[at]) == ARGV[1] then
                out = out + redis.call('SREM', KEYS[1], ARGV[at])
                redis.call('HDEL', KEYS[2], ARGV[at])
            end
        end
        return out",
    )
});

/// Keys: an index. Removes it where it is no set; gives whether it was none.
pub(super) static MEND: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "local there = redis.pcall('SCARD', KEYS[1])
        if type(there) == 'number' then return 0 end
        if string.sub(there.err, 1, 9) ~= 'WRONGTYPE' then error(there) end
        redis.call('DEL', KEYS[1])
        return 1",
    )
});

/// Keys: count, ends, then record and bucket of each session. Arguments: node, whether to tell
/// (`always`, `if-there`), channel, then rest of the key, name in the bucket, and key of each. Gives
/// how many there were.
pub(super) static REMOVE: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "local removed, told = 0, false
        for at = 1, (#KEYS - 2) / 2 do
            local record, bucket = KEYS[2 * at + 1], KEYS[2 * at + 2]
            local tail, member, key = ARGV[3 * at + 1], ARGV[3 * at + 2], ARGV[3 * at + 3]
            local there = redis.pcall('GETRANGE', record, @ACCESS, @SEALED - 1)
            local is_there, is_wrong = there == tail, type(there) == 'table'
            if is_there or ARGV[2] == 'always' then
                tell(KEYS[2], 'k', key, 'n', ARGV[1])
                told = true
            end
            if is_there or is_wrong then redis.call('DEL', record) end
            if is_there then removed = removed + 1 end
            if is_there or is_wrong or #there == 0 then
                if redis.pcall('SREM', bucket, member) == 1 then redis.pcall('DECR', KEYS[1]) end
            end
        end
        if told then redis.pcall('PUBLISH', ARGV[3], '') end
        return removed",
    )
});

/// Keys: ends. Arguments: node. Begins a stream that is empty, with an entry unlike any before.
pub(super) static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "if #redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1') > 0 then return 0 end
        local now = redis.call('TIME')
        tell(KEYS[1], 'b', now[1] .. '.' .. now[2], 'n', ARGV[1])
        return 1",
    )
});

/// Keys: epochs, ends. Arguments: node, user (`*` for all), `u` or `a`, epoch, channel, how, then the key
/// and the epoch of each session to keep. Gives the epoch that holds, later than there was, and the keys
/// that it keeps: those that were not over before. How: `all`; `if-kept` gives nothing, and changes
/// nothing, where the first one to keep is over; `late` keeps, besides, what a later epoch than this one
/// does; `again` sets one as it was, unless there is a later one. What is no epoch counts as none: a script
/// could not count on from it.
pub(super) static SET_EPOCH: LazyLock<Script> = LazyLock::new(|| {
    removing(
        "local there = redis.call('HGET', KEYS[1], ARGV[2]) or '0'
        local digits = string.match(there, '^%d+') or '0'
        local old, kept = tonumber(digits), string.sub(there, #digits + 2)
        if old > @MOST then old, kept = 0, '' end
        local epoch, how, keep = tonumber(ARGV[4]), ARGV[6], ''
        if how == 'again' and old >= epoch then return {old, kept} end
        local function has(keys, key)
            for at = 1, #keys, #key do
                if string.sub(keys, at, at + #key - 1) == key then return true end
            end
            return false
        end
        for at = 7, #ARGV, 2 do
            local key, is_good = ARGV[at], how == 'again' or tonumber(ARGV[at + 1]) >= old
            if (is_good or has(kept, key)) and not has(keep, key) then keep = keep .. key end
        end
        if how == 'late' and old >= epoch then
            for at = 1, #kept, 32 do
                local key = string.sub(kept, at, at + 31)
                if #keep < @KEPT * 32 and not has(keep, key) then keep = keep .. key end
            end
        end
        if how == 'if-kept' and not has(keep, ARGV[7]) then return false end
        if how ~= 'again' then old = math.max(old, removed(KEYS[1])) end
        if old >= epoch then epoch = old + 1 end
        local text = string.format('%.0f', epoch)
        redis.call('HSET', KEYS[1], ARGV[2], #keep > 0 and text .. ':' .. keep or text)
        tell(KEYS[2], ARGV[3], ARGV[2], 'n', ARGV[1], 'e', text, 'k', keep)
        redis.pcall('PUBLISH', ARGV[5], '')
        return {epoch, keep}",
    )
});

/// Keys: epochs, then the index of each user. Arguments: user and epoch of each. Removes an epoch that is
/// as it was, unless the user has an index, and notes it as the last one that was removed, if it is; gives
/// how many.
pub(super) static REMOVE_EPOCHS: LazyLock<Script> = LazyLock::new(|| {
    removing(
        "local gone, last = 0, removed(KEYS[1])
        for at = 2, #KEYS do
            local user, epoch = ARGV[2 * at - 3], ARGV[2 * at - 2]
            if redis.call('EXISTS', KEYS[at]) == 0 and redis.call('HGET', KEYS[1], user) == epoch then
                last = math.max(last, tonumber(string.match(epoch, '^%d+')) or 0)
                redis.call('HSET', KEYS[1], '@REMOVED', string.format('%.0f', last))
                gone = gone + redis.call('HDEL', KEYS[1], user)
            end
        end
        return gone",
    )
});

/// Keys: epochs. Arguments: the last one that was removed, as a node knows it. Gives the last one that
/// holds.
pub(super) static RAISE_REMOVED: LazyLock<Script> = LazyLock::new(|| {
    removing(
        "local last, known = removed(KEYS[1]), tonumber(ARGV[1])
        if last >= known then return last end
        redis.call('HSET', KEYS[1], '@REMOVED', string.format('%.0f', known))
        return known",
    )
});

/// A damaged value is replaced by the current time, which is later than any epoch set by a correct clock.
const LAST_REMOVED: &str = "local function removed(epochs)
            local there = redis.call('HGET', epochs, '@REMOVED')
            if not there then return 0 end
            local last = tonumber(string.match(there, '^%d+$') or '')
            if last and last <= @MOST then return last end
            local time = redis.call('TIME')
            last = time[1] * 1000 + math.ceil(time[2] / 1000)
            redis.call('HSET', epochs, '@REMOVED', string.format('%.0f', last))
            return last
        end
        ";

/// Keys: count, bucket, then records. Arguments: `all`, or `missing` for those only that have no
/// record; then the name in the bucket of each. Gives how many are gone.
pub(super) static DROP: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local gone = 0
        for at = 3, #KEYS do
            if ARGV[1] == 'all' then redis.call('DEL', KEYS[at]) end
            if redis.call('EXISTS', KEYS[at]) == 0 and redis.pcall('SREM', KEYS[2], ARGV[at - 1]) == 1 then
                redis.pcall('DECR', KEYS[1])
                gone = gone + 1
            end
        end
        return gone",
    )
});

/// Keys: count, buckets, then all buckets of the shard. Counts anew, and names the buckets that there are;
/// gives the count.
pub(super) static RECOUNT: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local count = 0
        for at = 3, #KEYS do
            local some = redis.pcall('SCARD', KEYS[at])
            if type(some) == 'number' and some > 0 then
                count = count + some
                add(KEYS[2], string.format('%.0f', at - 3))
            end
        end
        redis.call('SET', KEYS[1], string.format('%.0f', count))
        return count",
    )
});

/// Keys: record, ends. Arguments: the stamp it has, its new sealed record, node, key, channel. Tells
/// others that it has changed. Gives 0 where it is another by now.
pub(super) static SWAP: LazyLock<Script> = LazyLock::new(|| {
    script(
        "if redis.call('GETRANGE', KEYS[1], @SEALED, @SEALED + @STAMP - 1) ~= ARGV[1] then return 0 end
        local head = redis.call('GETRANGE', KEYS[1], 0, @SEALED - 1)
        redis.call('SET', KEYS[1], head .. ARGV[2], 'KEEPTTL')
        tell(KEYS[2], 'c', ARGV[4], 'n', ARGV[3])
        redis.pcall('PUBLISH', ARGV[5], '')
        return 1",
    )
});

/// Keys: sessions that are about to begin. Arguments: something unlike any other, milliseconds to keep
/// it. Adds it; gives how many others there are, and under which name it was added.
pub(super) static TAKE_PLACE: LazyLock<Script> = LazyLock::new(|| {
    script(
        "local time = redis.call('TIME')
        local now, others = time[1] * 1000 + math.floor(time[2] / 1000), 0
        local there = redis.pcall('SMEMBERS', KEYS[1])
        for _, other in ipairs(there.err and {} or there) do
            if (tonumber(string.match(other, '^%d+')) or 0) <= now then
                redis.call('SREM', KEYS[1], other)
            else
                others = others + 1
            end
        end
        local place = string.format('%.0f', now + ARGV[2]) .. ':' .. ARGV[1]
        add(KEYS[1], place)
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
        return {others, place}",
    )
});

/// Keys: nodes. Arguments: node, the server that it has told what it knows, milliseconds to keep its
/// word, channel. Gives each node that has said so within that time, and its server.
pub(super) static ATTEND: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local last = redis.call('HGET', KEYS[1], ARGV[1])
        redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ':' .. ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        if not last or string.match(last, '^%d+:(.*)$') ~= ARGV[2] then
            redis.pcall('PUBLISH', ARGV[4], '')
        end
        local words, there = redis.call('HGETALL', KEYS[1]), {}
        for at = 1, #words, 2 do
            local said, server = string.match(words[at + 1], '^(%d+):(.*)$')
            if said and now - said <= tonumber(ARGV[3]) then
                there[#there + 1] = words[at]
                there[#there + 1] = server
            else
                redis.call('HDEL', KEYS[1], words[at])
            end
        end
        return there",
    )
});

/// Keys: records. Arguments: the last access of each; an earlier one than there is changes nothing. It takes
/// the place of what is there, and so needs no memory: else a full server would end sessions that are in use.
pub(super) static TOUCH: LazyLock<Script> = LazyLock::new(|| {
    telling(
        "for at = 1, #KEYS do
            local last = redis.pcall('GETRANGE', KEYS[at], 0, @ACCESS - 1)
            last = type(last) == 'string' and #last == @ACCESS and tonumber(last)
            if last and last < tonumber(ARGV[at]) then redis.call('SETRANGE', KEYS[at], 0, ARGV[at]) end
        end
        return 0",
    )
});

/// Each entry says when it was made, in milliseconds by the clock of the server.
///
/// A foreign entry with a high id makes a stream refuse every entry after it. Such a stream is started
/// over, and its readers see the gap.
const TELL: &str = "local function tell(stream, ...)
            local fields, now = {...}, redis.call('TIME')
            fields[#fields + 1] = 't'
            fields[#fields + 1] = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
            local told = redis.pcall('XADD', stream, 'MAXLEN', '~', @ENDS, '0-*', unpack(fields))
            if type(told) == 'table' and told.err then
                redis.call('DEL', stream)
                redis.call('XADD', stream, '0-*', unpack(fields))
            end
        end
        ";

/// Something else in the place of an index goes: an index can be mended, and nobody could sign in else.
const ADD: &str = "local function add(set, member)
            local added = redis.pcall('SADD', set, member)
            if type(added) == 'number' then return added end
            if string.sub(added.err, 1, 9) ~= 'WRONGTYPE' then error(added) end
            redis.call('DEL', set)
            return redis.call('SADD', set, member)
        end
        ";

fn script(text: &str) -> Script {
    filled(&format!("{TELL}{ADD}{text}"))
}

/// For what has to be done though the memory is full, and takes little of it, such as an end.
fn telling(text: &str) -> Script {
    filled(&format!("#!lua flags=allow-oom\n{TELL}{text}"))
}

fn removing(text: &str) -> Script {
    telling(&format!("{LAST_REMOVED}{text}"))
}

fn filled(text: &str) -> Script {
    let numbers = [
        ("@ACCESS", ACCESS),
        ("@SEALED", SEALED),
        ("@STAMP", STAMP),
        ("@ENDS", ENDS),
        ("@KEPT", MAX_KEPT_IN_ALL),
    ];
    let fill =
        |text: String, (name, number): (&str, usize)| text.replace(name, &number.to_string());
    let text = text.replace("@REMOVED", REMOVED);
    let text = text.replace("@MOST", &MOST_EPOCH.to_string());
    Script::new(&numbers.into_iter().fold(text, fill))
}
