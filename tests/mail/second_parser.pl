#!/usr/bin/perl
# A reader of mail that is not Python's: MIME::Parser and Mail::Address (Debian: libmime-tools-perl).
# In: a JSON list of messages, each in base64. Out: a JSON list of what it found in each, bodies in base64.
use strict;
use warnings;
use Encode qw(decode);
use JSON::PP;
use MIME::Base64;
use MIME::Parser;
use Mail::Address;

my $json = JSON::PP->new->utf8->canonical;

# The value of a field, its folds undone, as octets; undef where there is none.
sub field {
    my ($head, $name) = @_;
    my $value = $head->get($name, 0);
    return undef unless defined $value;
    $value =~ s/\r?\n(?=[ \t])//g;
    $value =~ s/\r?\n\z//;
    $value =~ s/\A //;
    return $value;
}

sub words {
    my ($octets) = @_;
    return $octets =~ /=\?/ ? decode('MIME-Header', $octets) : decode('UTF-8', $octets);
}

# A display name: a quoted string as it is, anything else with its encoded words decoded.
sub name_of {
    my ($phrase) = @_;
    if ($phrase =~ /\A"(.*)"\z/s) {
        my $inside = $1;
        $inside =~ s/\\(.)/$1/g;
        return decode('UTF-8', $inside);
    }
    return words($phrase);
}

sub addresses {
    my ($value) = @_;
    return [map { [name_of($_->phrase), decode('UTF-8', $_->address)] } Mail::Address->parse($value)];
}

sub leaves {
    my ($entity) = @_;
    return map { leaves($_) } $entity->parts if $entity->parts || $entity->mime_type =~ m{\Amultipart/};
    my $head = $entity->head;
    my $body = $entity->bodyhandle;
    my $disposition = $head->mime_attr('content-disposition');
    return {
        type        => $entity->mime_type,
        filename    => $head->recommended_filename,
        disposition => $disposition,
        content_id  => field($head, 'Content-ID'),
        octets      => encode_base64(defined $body ? $body->as_string : '', ''),
    };
}

sub report {
    my ($octets) = @_;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_nested_messages(0);
    my $entity = $parser->parse_data($octets);
    my $head   = $entity->head;
    my %found;
    for my $name ('From', 'Reply-To', 'To', 'Cc') {
        my $value = field($head, $name);
        $found{$name} = addresses($value) if defined $value;
    }
    my $subject = field($head, 'Subject');
    return {
        addresses => \%found,
        subject   => words(defined $subject ? $subject : ''),
        fields    => [map { lc } $head->tags],
        parts     => [leaves($entity)],
        faults    => [$parser->results->errors, $parser->results->warnings],
    };
}

local $/;
print $json->encode([map { report(decode_base64($_)) } @{ $json->decode(<STDIN>) }]);
