/*
 * The page's words, Japanese and English, by the browser's language;
 * ?lang=ja and ?lang=en override it.
 */

const words = {
    ja: {
        title: "シティライツ・セッション ― 屋上からの生ライブ",
        subtitle: "fcchat のデモ配信",
        about: "チャットとリアクションは nginx の中で処理され、" +
            "メッセージは PostgreSQL に保存されます。" +
            "別のウィンドウを開いて、二人で話してみてください。",
        more: "関連リンク",
        to_old: "旧プロトコルで開く", to_v1: "fcchat.v1 で開く",
        player: "プレーヤー", chat: "チャット", chat_log: "チャットの内容",
        rooms: "配信の切り替え", stage: "ステージ", user: "ユーザー",
        second: "別のユーザーで新しいウィンドウを開く",
        second_short: "別ユーザーで開く",
        viewers: "視聴者数", pause: "一時停止", play: "再生",
        fullscreen: "全画面表示", stamps: "リアクション",
        write: "メッセージを入力", guest: "ログインすると書き込めます",
        send: "送信", empty: "最初のメッセージを送ってみましょう",
        count: "{n}/{max}文字", newer: "新着メッセージ {n}件",
        wire_v1: "fcchat.v1", wire_old: "旧プロトコル",

        state_connecting: "接続中…", state_online: "接続済み",
        state_waiting: "再接続まで {s}秒",
        said_waiting: "接続が切れました。再接続します。",
        state_closed: "切断",
        reconnect: "再接続する",

        role_owner: "配信者", role_moderator: "モデレーター",
        pending: "送信中…", failed: "送信できませんでした",
        retry: "再送", discard: "取り消し",
        pinned: "固定", deleted: "削除されたメッセージ",
        moderate: "{name} のメッセージを管理",
        act_delete: "削除", act_pin: "固定する", act_unpin: "固定を解除",
        act_timeout: "5分間書き込み禁止", act_ban: "BAN",
        act_unban: "解除", sure_ban: "{name} をBANしますか？",
        bans: "BAN・書き込み禁止の一覧", bans_open: "BAN一覧",
        bans_none: "禁止されている人はいません",
        bans_failed: "一覧を読み込めませんでした。",
        more_bans: "さらに表示", close: "閉じる",
        kind_ban: "BAN", kind_timeout: "書き込み禁止",
        all_rooms: "全ルーム", until: "{at} まで", for_ever: "無期限",
        banned_by: "{name} による",
        mod_delete: "がメッセージを削除しました。",
        mod_pin: "がメッセージを固定しました。",
        mod_unpin: "が固定を解除しました。",
        mod_ban: "が {name} をBANしました。",
        mod_timeout: "が {name} の書き込みを禁止しました。",
        mod_unban: "が {name} の禁止を解除しました。",
        mod_slow: "が低速モードを変更しました（{s}秒）。",
        for_time: "({s}秒)",
        slow_off: "低速: なし", slow_is: "低速 {s}秒",
        slow_choose: "低速モード",
        presence_join: "{name} さんが入室しました",
        presence_leave: "{name} さんが退室しました",
        gap: "ここに表示できないメッセージがあります",

        stamp_1: "笑顔", stamp_2: "びっくり", stamp_3: "泣き顔",
        stamp_4: "大好き", stamp_5: "悲鳴", stamp_6: "怒り",

        offline: "接続されていないため送信できません。" +
            "再接続後にもう一度送信してください。",
        error: "エラー: {text}",
        err_rate_limited: "送信が速すぎます。少し待ってください。",
        err_rate_limited_wait: "送信が速すぎます。{s}秒待ってください。",
        err_slow_mode: "低速モードです。少し待ってください。",
        err_slow_mode_wait: "低速モードです。あと {s}秒待ってください。",
        err_timed_out: "書き込みが禁止されています。",
        err_timed_out_wait: "書き込みが禁止されています。あと {s}秒です。",
        err_duplicate: "同じメッセージが続いています。",
        err_login_required: "書き込むにはログインが必要です。",
        err_forbidden: "この相手には許可されていない操作です。",
        err_not_found: "対象が見つかりません。",
        err_too_many: "これ以上は追加できません。",
        err_too_long: "メッセージが長すぎます。",
        err_empty: "空のメッセージは送れません。",
        err_bad_text: "使えない文字が含まれています。",
        err_bad_json: "サーバーが内容を読み取れませんでした。",
        err_bad_request: "サーバーが内容を読み取れませんでした。",
        err_unknown_type: "サーバーが対応していない操作です。",
        err_unknown_stamp: "このスタンプは使えません。",
        err_unavailable: "サーバーが混み合っています。" +
            "しばらくして再送してください。",
        err_not_allowed: "この操作は許可されていません。",
        err_rejected: "このメッセージは受け付けられませんでした。",
        err_room_gone: "このチャットは終了しました。",
        err_banned: "このチャットへの書き込みは禁止されています。",
        err_read_only: "書き込むにはログインが必要です。",

        close_4400: "サーバーが接続を受け付けませんでした。",
        close_4401: "セッションが終了しました。ログインし直してください。",
        close_4403: "このチャットへの参加は禁止されています。",
        close_4404: "このチャットは終了しました。",
        close_4409: "同時に開ける接続の数を超えました。" +
            "他のウィンドウを閉じてください。",
        close_other: "サーバーが接続を終了しました ({code})。"
    },

    en: {
        title: "City Lights Session, live from the rooftop",
        subtitle: "a demonstration of fcchat",
        about: "Chat and reactions are served inside nginx, and messages " +
            "are kept in PostgreSQL. Open a second window and talk to " +
            "yourself.",
        more: "More",
        to_old: "Use the old protocol", to_v1: "Use fcchat.v1",
        player: "Player", chat: "Live chat", chat_log: "Chat messages",
        rooms: "Choose a stream", stage: "Stage", user: "User",
        second: "Open a new window as another user",
        second_short: "Second window",
        viewers: "Viewers", pause: "Pause", play: "Play",
        fullscreen: "Full screen", stamps: "Reactions",
        write: "Say something", guest: "Log in to join the chat",
        send: "Send", empty: "Be the first to say something",
        count: "{n}/{max}", newer: "{n} new",
        wire_v1: "fcchat.v1", wire_old: "old protocol",

        state_connecting: "Connecting", state_online: "Connected",
        state_waiting: "Reconnecting in {s} s",
        said_waiting: "The connection is lost. Reconnecting.",
        state_closed: "Disconnected",
        reconnect: "Reconnect",

        role_owner: "Host", role_moderator: "Moderator",
        pending: "Sending", failed: "Not sent",
        retry: "Retry", discard: "Discard",
        pinned: "Pinned", deleted: "A deleted message",
        moderate: "Moderate the message of {name}",
        act_delete: "Delete", act_pin: "Pin", act_unpin: "Unpin",
        act_timeout: "Mute for 5 minutes", act_ban: "Ban",
        act_unban: "Unban", sure_ban: "Ban {name}?",
        bans: "Banned and muted", bans_open: "Bans",
        bans_none: "Nobody is banned or muted",
        bans_failed: "The list could not be read.",
        more_bans: "Show more", close: "Close",
        kind_ban: "Banned", kind_timeout: "Muted",
        all_rooms: "All rooms", until: "until {at}",
        for_ever: "until it is undone",
        banned_by: "by {name}",
        mod_delete: "deleted a message.",
        mod_pin: "pinned a message.",
        mod_unpin: "unpinned a message.",
        mod_ban: "banned {name}.",
        mod_timeout: "muted {name}.",
        mod_unban: "lifted the ban of {name}.",
        mod_slow: "set slow mode to {s} s.",
        for_time: "({s} s)",
        slow_off: "Slow: off", slow_is: "Slow: {s} s",
        slow_choose: "Slow mode",
        presence_join: "{name} has joined",
        presence_leave: "{name} has left",
        gap: "Some messages here could not be shown",

        stamp_1: "Smile", stamp_2: "Surprise", stamp_3: "Cry",
        stamp_4: "Love", stamp_5: "Scream", stamp_6: "Angry",

        offline: "You are not connected. Send it again once you are back.",
        error: "Error: {text}",
        err_rate_limited: "You are too fast. Please wait a little.",
        err_rate_limited_wait: "You are too fast. Please wait {s} s.",
        err_slow_mode: "Slow mode is on. Please wait a little.",
        err_slow_mode_wait: "Slow mode is on. Please wait {s} s.",
        err_timed_out: "A moderator has muted you.",
        err_timed_out_wait: "A moderator has muted you for {s} s more.",
        err_duplicate: "You have just said that.",
        err_login_required: "Log in to write in this chat.",
        err_forbidden: "You may not do that to this user.",
        err_not_found: "There is no such thing any more.",
        err_too_many: "There are as many as there may be.",
        err_too_long: "That message is too long.",
        err_empty: "An empty message can't be sent.",
        err_bad_text: "That message holds a character that can't be used.",
        err_bad_json: "The server could not read that.",
        err_bad_request: "The server could not read that.",
        err_unknown_type: "The server does not know that action.",
        err_unknown_stamp: "That stamp can't be used.",
        err_unavailable: "The server is busy. Please try again in a moment.",
        err_not_allowed: "You are not allowed to do that.",
        err_rejected: "That message was refused.",
        err_room_gone: "This chat is over.",
        err_banned: "You are banned from writing in this chat.",
        err_read_only: "Log in to write in this chat.",

        close_4400: "The server refused this connection.",
        close_4401: "Your session has ended. Please log in again.",
        close_4403: "You are banned from this chat.",
        close_4404: "This chat is over.",
        close_4409: "Too many open connections. Close another window first.",
        close_other: "The server closed the connection ({code})."
    }
};

const asked = new URLSearchParams(location.search).get("lang");

export const lang = asked === "ja" || asked === "en"
    ? asked
    : /^ja\b/i.test(navigator.language || "") ? "ja" : "en";

export function has(key) {
    return Object.hasOwn(words[lang], key);
}

export function t(key, values = {}) {
    return words[lang][key].replace(/\{(\w+)\}/g, (all, name) =>
        name in values ? String(values[name]) : all);
}

/* fills every element that names its words in a data-i18n attribute */

export function translate(root) {
    const targets = {
        "i18n": (el, text) => { el.textContent = text; },
        "i18nLabel": (el, text) => el.setAttribute("aria-label", text),
        "i18nTitle": (el, text) => { el.title = text; },
        "i18nPlaceholder": (el, text) => { el.placeholder = text; }
    };

    document.documentElement.lang = lang;

    for (const [name, set] of Object.entries(targets)) {
        const attribute = "data-" + name.replace(/[A-Z]/g, c =>
            "-" + c.toLowerCase());

        for (const el of root.querySelectorAll("[" + attribute + "]")) {
            set(el, t(el.dataset[name]));
        }
    }
}
