# what: files and a journal from the future, and from before 1970
# short
R=$D/root; tree "$R"; echo 'see ticket 12' >>"$R/etc/fstab"
find "$R" -exec touch -h -d '2106-01-01' {} +; touch -d '1901-12-14' "$R/etc/passwd" "$R/etc"
cp -a "$R" "$D/before"
run check "$R"; says fstab-bad-line
run fix --yes "$R"; says 'repaired: '
sed -i 's/"when": *"[^"]*"/"when":"2199-01-01T00:00:00Z"/' "$R"/var/lib/sickbay/*/entry.json
run undo --list "$R"
run fix --yes "$R"
run undo --yes "$R"
diff -r "$R" "$D/before" >"$D/said" || fail "undo left something"
diff <(cd "$R" && find . -printf '%p %m %s %T@\n' | sort) <(cd "$D/before" && find . -printf '%p %m %s %T@\n' | sort) >"$D/said" || fail "undo left other times"
