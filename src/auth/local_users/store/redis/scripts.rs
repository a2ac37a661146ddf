//! What Redis does in one step. Keys of each: the sealed users, and the stream of changes. A value is
//! told from others by its beginning, the stamp.

use std::sync::LazyLock;

use ::redis::Script;

use super::{KEPT, SOME, STAMP};

/// Arguments: the last change that was seen, how many users there were then, most users. Gives 0 where
/// nothing has changed, 1 where there are more users, else the last change, how many there are, whether
/// what follows is all of them, and the field and the stamp of each.
pub(super) static CHANGES: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "",
        "local there = redis.call('HLEN', KEYS[1])
        if there > tonumber(ARGV[3]) then return 1 end
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
            local are_told = there >= before and there - before < #since
            if #since > 1 and #since < @SOME and since[1][1] == ARGV[1] and are_told then
                fields = {}
                for at = 2, #since do fields[#fields + 1] = since[at][2][2] end
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

/// Arguments: channel, most users, field, the stamp of what is there, the new value. Gives 0 where
/// something else is by now, 2 where there are too many.
pub(super) static ADD: LazyLock<Script> = LazyLock::new(|| filled("", PUT));

/// The same. To keep somebody out is worth the last bytes of the memory.
pub(super) static CHANGE: LazyLock<Script> =
    LazyLock::new(|| filled("#!lua flags=allow-oom\n", PUT));

const PUT: &str = "local old = redis.call('HGET', KEYS[1], ARGV[3])
        if stamp(old) ~= ARGV[4] then return 0 end
        if not old and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[2]) then return 2 end
        redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])
        tell(ARGV[3])
        return 1";

/// Arguments: channel, then field, stamp and new value of each. Gives 0 or 1 for each, as above. What is
/// put back was there before, and may keep somebody out.
pub(super) static PUT_EACH: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "#!lua flags=allow-oom\n",
        "local put = {}
        for at = 2, #ARGV, 3 do
            local is_there = stamp(redis.call('HGET', KEYS[1], ARGV[at])) == ARGV[at + 1]
            if is_there then
                redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
                tell(ARGV[at])
            end
            put[#put + 1] = is_there and 1 or 0
        end
        return put",
    )
});

/// Arguments: channel, then field and value of each. Gives 0 where there is anybody.
pub(super) static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    filled(
        "",
        "if redis.call('HLEN', KEYS[1]) > 0 then return 0 end
        for at = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
        -- Who has seen none of them finds their number wrong, and reads all.
        tell(ARGV[2])
        return 1",
    )
});

const COMMON: &str = "local function stamp(value)
            return value and string.sub(value, 1, @STAMP) or ''
        end
        local function tell(field)
            redis.call('XADD', KEYS[2], 'MAXLEN', '~', @KEPT, '*', 'u', field)
            redis.pcall('PUBLISH', ARGV[1], '')
        end
        ";

fn filled(flags: &str, text: &str) -> Script {
    let numbers = [("@STAMP", STAMP), ("@SOME", SOME), ("@KEPT", KEPT)];
    let fill =
        |text: String, (name, number): (&str, usize)| text.replace(name, &number.to_string());
    let text = numbers.into_iter().fold(format!("{COMMON}{text}"), fill);
    Script::new(&format!("{flags}{text}"))
}
