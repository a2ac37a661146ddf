//! What Redis does in one step.

use std::sync::LazyLock;

use ::redis::Script;

/// Keys: owner. Gives the time in milliseconds, and the names. What is no set has none.
pub(super) static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local time = redis.call('TIME')
        local names = redis.pcall('SMEMBERS', KEYS[1])
        if names.err then names = {} end
        return {time[1] * 1000 + math.floor(time[2] / 1000), names}",
    )
});

/// Keys: owner, text, body, mark; then text and body of each that goes for it. Arguments: name, token,
/// text, body or nothing, milliseconds that are left, milliseconds for the owner, how many it may have;
/// then the name of each that goes.
///
/// Gives 1 if it is kept, 0 if somebody else has taken it before, 2 if there is no room.
pub(super) static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local taken = redis.call('GET', KEYS[4])
        if taken and taken ~= ARGV[2] then return 0 end
        if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
        for at = 8, #ARGV do
            if redis.call('SREM', KEYS[1], ARGV[at]) == 1 then
                redis.call('DEL', KEYS[2 * at - 11], KEYS[2 * at - 10])
            end
        end
        if #redis.call('SMEMBERS', KEYS[1]) >= tonumber(ARGV[7]) then return 2 end
        redis.call('SADD', KEYS[1], ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[6])
        if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5]) end
        redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[5])
        redis.call('DEL', KEYS[4])
        return 1",
    )
});

/// Keys: owner, text, body, mark. Arguments: name, token, milliseconds for the mark; and, if it is to be
/// marked even if it is not there, the token that it may have been marked with before.
///
/// Gives 1 if it is taken, or was by the same token, 0 if it is not there, 2 if somebody else has it.
pub(super) static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local taken = redis.call('GET', KEYS[4])
        if taken == ARGV[2] then return 1 end
        if taken and taken ~= ARGV[4] then return 2 end
        local has = redis.call('SREM', KEYS[1], ARGV[1]) == 1
        local is_there = redis.call('EXISTS', KEYS[2]) == 1
        if is_there and not has then return 2 end
        if is_there or ARGV[4] ~= '' then
            redis.call('DEL', KEYS[2], KEYS[3])
            redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
        end
        return is_there and 1 or 0",
    )
});

/// Keys: from, to, text. Arguments: name, text, milliseconds that are left, milliseconds for the owner,
/// how many it may have.
///
/// Gives 1 if it is handed over, 0 if it is not there, 2 if there is no room.
pub(super) static HAND_OVER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local stays = KEYS[1] == KEYS[2]
        if not stays and #redis.call('SMEMBERS', KEYS[2]) >= tonumber(ARGV[5]) then return 2 end
        if redis.call('EXISTS', KEYS[3]) == 0 then return 0 end
        if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
        redis.call('SADD', KEYS[2], ARGV[1])
        redis.call('PEXPIRE', KEYS[2], ARGV[4])
        redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
        return 1",
    )
});

/// Keys: texts. Gives 1 for each that is there, and 0 for the others.
pub(super) static ARE_THERE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = {}
        for at = 1, #KEYS do found[at] = redis.call('EXISTS', KEYS[at]) end
        return found",
    )
});

/// Keys: owner; then texts. Arguments: the name of each text. Those that are over are taken out.
pub(super) static CLEAR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "for at = 1, #ARGV do
            if redis.call('EXISTS', KEYS[at + 1]) == 0 then redis.call('SREM', KEYS[1], ARGV[at]) end
        end
        return 0",
    )
});
