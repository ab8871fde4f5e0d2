# what: a report that cannot be written is an error; a reader that has gone is none
# short
R=$D/root; tree "$R"; echo 'see ticket 12' >>"$R/etc/fstab"
for verb in "check" "check --format json" "list" "explain fstab-bad-line" "fix --dry-run"; do
    case $verb in list | explain*) target= ;; *) target=$R ;; esac
    code=0; "$SICKBAY" $verb $target >/dev/full 2>"$D/said" || code=$?
    [ "$code" = 2 ] && [ -s "$D/said" ] || fail "sickbay $verb >/dev/full ended with $code"
done
{ "$SICKBAY" list 2>"$D/said" || true; } | head -n 1 >/dev/null; [ ! -s "$D/said" ] || fail "a reader that has gone is no error"
run check "$R"
