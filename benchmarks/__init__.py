"""What reading and the whole way to a volume cost, beside what others cost."""
