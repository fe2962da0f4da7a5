"""Whatever stands where a number belongs, from upstream, the login service, a program or the clock, costs nothing."""
