//! What Redis does in one step. Keys of each: the sealed users, and the stream of changes. A value is
//! told from others by its beginning, the stamp.

use std::sync::LazyLock;

use ::redis::Script;

use super::{KEPT, SOME, STAMP};

/// Nothing that answers at random says that.
pub(super) const TOO_MANY: &str = "too many";

/// Arguments: the last change that was seen, how many users there were then, most users. Gives 0 where
/// nothing has changed, [`TOO_MANY`] where there are more users, else the last change, how many there are, whether
/// what follows is all of them, and the field and the stamp of each.
pub(super) static CHANGES: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "",
        "local there = redis.call('HLEN', KEYS[1])
        if there > tonumber(ARGV[3]) then return {'@TOO_MANY'} end
        local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
        newest = newest and newest[1] or ''
        if newest == '' and there > 0 then
            -- Something else has taken the stream away. Without an entry, each look would be at all.
            newest = redis.pcall('XADD', KEYS[2], '*', 'u', '')
            if type(newest) ~= 'string' then newest = '' end
        end
        local fields, all = nil, 0
        if ARGV[1] ~= '' then
            local before = tonumber(ARGV[2]) or 0
            if newest == ARGV[1] and there == before then return 0 end
            local since = redis.call('XRANGE', KEYS[2], ARGV[1], '+', 'COUNT', @SOME)
            if #since > 1 and #since < @SOME and since[1][1] == ARGV[1] then
                fields = {}
                for at = 2, #since do
                    local told = since[at][2]
                    for field = 2, #told, 2 do fields[#fields + 1] = told[field] end
                end
                -- Of some, nothing was told.
                if there < before or there - before > #fields then fields = nil end
            end
        end
        if not fields then
            fields, all = redis.call('HKEYS', KEYS[1]), 1
        end
        local found = {}
        for _, field in ipairs(fields) do
            found[#found + 1] = field
            found[#found + 1] = stamp(redis.call('HGET', KEYS[1], field))
        end
        return {newest, there, all, found}",
    )
});

/// Arguments: most bytes of a value, then fields. Gives the value of each: 0 for one that is not there,
/// and of one that is too large its beginning, which nobody can read.
pub(super) static READ: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "",
        "local found = {}
        for at = 2, #ARGV do
            local value = redis.call('HGET', KEYS[1], ARGV[at])
            if value and #value > tonumber(ARGV[1]) then value = stamp(value) end
            found[#found + 1] = value or 0
        end
        return found",
    )
});

/// Arguments: channel, most users, then field, the stamp of what is there and the new value of each. Gives
/// for each 1, or 0 where something else is by now, or 2 where there are too many.
pub(super) static PUT: LazyLock<Script> = LazyLock::new(|| filled("", PUT_TEXT));

/// The same where the memory is full.
pub(super) static PUT_IN_ANY_CASE: LazyLock<Script> =
    LazyLock::new(|| filled("#!lua flags=allow-oom\n", PUT_TEXT));

const PUT_TEXT: &str = "local put, told = {}, {}
        local there = redis.call('HLEN', KEYS[1])
        for at = 3, #ARGV, 3 do
            local old, done = redis.call('HGET', KEYS[1], ARGV[at]), 1
            if stamp(old) ~= ARGV[at + 1] then
                done = 0
            elseif not old and there >= tonumber(ARGV[2]) then
                done = 2
            else
                redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
                there = there + (old and 0 or 1)
                told[#told + 1] = 'u'
                told[#told + 1] = ARGV[at]
            end
            put[#put + 1] = done
        end
        if #told > 0 then tell(told) end
        return put";

/// Keys: users that come, and the sealed users. Arguments: milliseconds to keep the first, the number of the
/// attempt, `1` for its first step, then field and value of some. Gives 0 where there is anybody, or a later
/// attempt has begun: a server that stood still may do late what it was asked before.
pub(super) static BRING: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HLEN', KEYS[2]) > 0 then return 0 end
        local there, attempt = tonumber(redis.call('HGET', KEYS[1], '') or '') or 0, tonumber(ARGV[2])
        if there > attempt or there < attempt and ARGV[3] ~= '1' then return 0 end
        if there < attempt then
            redis.call('DEL', KEYS[1])
            redis.call('HSET', KEYS[1], '', ARGV[2])
        end
        for at = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
        redis.call('PEXPIRE', KEYS[1], ARGV[1])
        return 1",
    )
});

/// Keys: users that have come, the sealed users, the stream of changes. Arguments: channel, the number of the
/// attempt, how many have come, and the field of one. Gives 0 where there is anybody, or some of them are gone,
/// and leaves alone what another attempt has brought.
pub(super) static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "",
        "if redis.call('HGET', KEYS[1], '') ~= ARGV[2] then return 0 end
        local is_whole = redis.call('HLEN', KEYS[1]) == tonumber(ARGV[3]) + 1
        if redis.call('HLEN', KEYS[2]) > 0 or not is_whole then
            redis.call('DEL', KEYS[1])
            return 0
        end
        redis.call('HDEL', KEYS[1], '')
        redis.call('PERSIST', KEYS[1])
        redis.call('RENAME', KEYS[1], KEYS[2])
        -- Who has seen none of them finds their number wrong, and reads all.
        tell({'u', ARGV[4]}, KEYS[3])
        return 1",
    )
});

/// Keys: users that come. Arguments: the number of the attempt. Removes what this attempt, or an earlier one, has
/// brought.
pub(super) static DROP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local there = tonumber(redis.call('HGET', KEYS[1], '') or '') or 0
        if there > tonumber(ARGV[1]) then return 0 end
        return redis.call('DEL', KEYS[1])",
    )
});

const COMMON: &str = "local function stamp(value)
            return value and string.sub(value, 1, @STAMP) or ''
        end
        local function tell(fields, stream)
            redis.call('XADD', stream or KEYS[2], 'MAXLEN', '~', @KEPT, '*', unpack(fields))
            redis.pcall('PUBLISH', ARGV[1], '')
        end
        ";

fn filled(flags: &str, text: &str) -> Script {
    let numbers = [("@STAMP", STAMP), ("@SOME", SOME), ("@KEPT", KEPT)];
    let fill =
        |text: String, (name, number): (&str, usize)| text.replace(name, &number.to_string());
    let text = format!("{COMMON}{text}").replace("@TOO_MANY", TOO_MANY);
    let text = numbers.into_iter().fold(text, fill);
    Script::new(&format!("{flags}{text}"))
}
