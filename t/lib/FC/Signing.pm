package FC::Signing;

# Django's signed values, made by their description and not by Django: what
# Django itself would never sign can be tried too.
#
#     use FC::Signing qw/ $DB $COOKIE login signed /;
#
#     my $data = login($pg, 'alice');          # JSON as login() writes it
#     my $data = login($pg, 'alice', _auth_user_hash => undef);   # without
#     signed($DB, $data);                      # a value of session_data
#     signed($COOKIE, $data, age => 60);       # a cookie of signed_cookies
#
# signed() takes zlib => 1, age (seconds ago), secret, and sha1 => 1, as Django
# signed before 3.1.

use strict;
use warnings;

use base qw/ Exporter /;

use Compress::Zlib qw/ compress /;
use Digest::SHA qw/ hmac_sha1 hmac_sha256 sha1 sha256 /;
use MIME::Base64 qw/ encode_base64url /;

use FC::Django;

our @EXPORT_OK = qw/ $DB $COOKIE $MODEL login signed /;

our $DB = 'django.contrib.sessions.SessionStore';
our $COOKIE = 'django.contrib.sessions.backends.signed_cookies';
our $MODEL = 'django.contrib.auth.backends.ModelBackend';

my $HASH = 'django.contrib.auth.models.AbstractBaseUser'
           . '.get_session_auth_hash';


sub login {
    my ($pg, $name, %changes) = @_;

    my ($row) = $pg->sql("select id, password from accounts_user "
                         . "where username = :'name'", name => $name);
    my $key = sha256($HASH . $FC::Django::SECRET);
    my %data = (
        _auth_user_id => $row->[0],
        _auth_user_backend => $MODEL,
        _auth_user_hash => unpack('H*', hmac_sha256($row->[1], $key)),
        %changes,
    );

    return '{' . join(',', map { qq("$_":"$data{$_}") }
                           grep { defined $data{$_} } sort keys %data) . '}';
}


sub signed {
    my ($salt, $data, %o) = @_;

    my @digits = (0 .. 9, 'A' .. 'Z', 'a' .. 'z');
    my $payload = $o{zlib} ? '.' . encode_base64url(compress($data))
                           : encode_base64url($data);
    my $stamp = '';

    for (my $n = time() - ($o{age} // 0); $n; $n = int($n / 62)) {
        $stamp = $digits[$n % 62] . $stamp;
    }

    my $value = "$payload:$stamp";
    my $key = $salt . 'signer' . ($o{secret} // $FC::Django::SECRET);

    return "$value:"
           . encode_base64url($o{sha1} ? hmac_sha1($value, sha1($key))
                                       : hmac_sha256($value, sha256($key)));
}


1;
