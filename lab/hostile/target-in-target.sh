# what: a root that is mounted inside itself, and links in circles
# short
R=$D/root; tree "$R"; mkdir -p "$R/mnt/R" "$R/etc/profile.d" "$R/etc/sysctl.d"
mount --bind "$R" "$R/mnt/R"; ln -s ../etc "$R/etc/etc"; ln -s profile.d "$R/etc/profile.d/self"; ln -s loop "$R/etc/sysctl.d/loop.conf"; ln -sf ../../../../../../.. "$R/var/log/up"
run check "$R"; run check "$R/mnt/R"; run fix --yes "$R"; run undo --yes "$R"
leave "$R/mnt/R"
mount --rbind / "$R/mnt/R" 2>/dev/null && { run check "$R"; umount -R -l "$R/mnt/R"; }
true
